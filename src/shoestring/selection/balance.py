"""Class balance: how many images of each class to select."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.config.balance import Balance
from shoestring.errors import UserError, unknown
from shoestring.selection.pool import NO_INDICES, Pool
from shoestring.selection.strategy import BoundMethod


def class_counts(
    labels: NDArray[np.int64],
    size: int,
    *,
    balance: Balance,
    names: tuple[str, ...],
    already: NDArray[np.int64] = NO_INDICES,
) -> NDArray[np.int64]:
    """Number of new images to select from each class (classes,), so that with those selected before there are `size`.

    `labels` (N,) are those of all candidates, `already` (K,) those of the images selected before, which are among them.

    Equal counts differ by at most one. Numbers for some classes ('cat=50') leave equal counts to the others. A class
    that already has more than its count keeps its images, and the other classes divide the rest.
    Raises `UserError` if a class has fewer images than its count, and for numbers that do not add up.
    """
    available, selected = (np.bincount(own, minlength=len(names)) for own in (labels, already))
    weights = available.astype(float) if balance == "proportional" else np.ones(len(names))
    fixed = np.full(len(names), -1)
    if not isinstance(balance, str):
        for name, number in balance.items():
            if name not in names:
                raise unknown("class in --balance", name, names)
            if selected[names.index(name)] > number:
                raise UserError(
                    f"more than {number:,} images of class '{name}' in --balance have been selected already."
                )
            fixed[names.index(name)] = number
        _check_sum(fixed, size)
    while True:
        counts = _apportion(fixed, weights, size, available)
        if not (over := selected > counts).any():
            break
        fixed[over] = selected[over]
        if fixed[fixed >= 0].sum() > size:
            raise UserError(
                f"more images have been selected already than {size:,} examples with --balance {balance} allow."
            )
    for name, have, need in zip(names, available, counts):
        if have < need:
            raise UserError(
                f"class '{name}' has {have:,} training images, but {need:,} are needed "
                f"({size:,} examples in {len(names)} classes). Select fewer, or use --balance proportional."
            )
    return counts - selected


def _check_sum(fixed: NDArray[np.int64], size: int) -> None:
    total = int(fixed[fixed >= 0].sum())
    if total > size or ((fixed >= 0).all() and total != size):
        raise UserError(f"the numbers in --balance add up to {total:,}, but --examples is {size:,}.")


def _apportion(
    fixed: NDArray[np.int64], weights: NDArray[np.float64], size: int, available: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Divide `size` minus the fixed counts (-1: not fixed) by weight among the others, by largest remainder."""
    is_free, rest = fixed < 0, size - int(fixed[fixed >= 0].sum())
    if not is_free.any():
        return fixed.copy()
    quota = np.where(is_free, weights, 0.0) * (rest / max(weights[is_free].sum(), 1e-300))
    counts = np.floor(quota + 1e-9).astype(np.int64)
    # Largest remainder first; equal remainders go to the classes with most images.
    order = np.lexsort((-available, -np.round(quota - counts, 9), ~is_free))
    counts[order[: rest - counts.sum()]] += 1
    return np.where(is_free, counts, fixed)


def interleave(selected: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Merge the selections of all classes, each best first, so that every prefix keeps the class proportions."""
    if not selected:
        return NO_INDICES
    rank = np.concatenate([(np.arange(len(own)) + 0.5) / len(own) for own in selected])
    return np.concatenate(selected)[np.argsort(rank, kind="stable")]


def select_per_class(
    method: BoundMethod,
    pool: Pool,
    counts: NDArray[np.int64],
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64],
    candidates: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Let the method select `counts` (classes,) new candidates class by class, and interleave them."""
    selected = []
    labels = pool.labels[candidates]
    for label, count in enumerate(counts):
        if count:
            own = candidates[labels == label]
            before = np.intersect1d(own, already, assume_unique=True)
            selected.append(method(pool, int(count), rng=rng, already=before, candidates=own))
    return interleave(selected)
