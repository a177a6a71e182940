"""Select a subset of a pool: classes balanced, earlier selections kept, some images excluded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.config.balance import Balance
from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.selection.balance import class_counts, select_per_class
from shoestring.selection.pool import NO_INDICES, Pool, Signals
from shoestring.selection.strategy import BoundMethod, Strategy
from shoestring.selection.subset import Subset


def select_subset(
    pool: Pool,
    size: int,
    strategy: Strategy,
    *,
    balance: Balance = "equal",
    already: NDArray[np.int64] = NO_INDICES,
    excluded: NDArray[np.int64] = NO_INDICES,
    seed: int = 0,
) -> Subset:
    """Select `size` images of the pool, best first.

    `already` (K,) are indices that were selected before: they come first and count toward `size`. The indices in
    `excluded` are not selected. Images without a class each are not balanced. Raises `UserError` for unknown methods
    and options, and for sizes that the pool, a class or the difficulty range cannot provide.
    """
    method = strategy.bind()
    balance = balance if pool.images.has_one_class_each else "none"
    new = _select_new(pool, size, method, balance=balance, already=already, excluded=excluded, seed=seed)
    indices = np.concatenate([already, new])
    return Subset(
        indices,
        tuple(str(name) for name in pool.images.ids[indices]),
        pool.images.fingerprint,
        strategy.method,
        dict(method.options),
        balance if isinstance(balance, str) else dict(balance),
        seed,
        within=None if strategy.within is None else str(strategy.within),
        kept=len(already),
        left_out=len(excluded),
        side=pool.images.shape[0],
        names_hash=pool.images.names_hash,
    )


def new_class_counts(
    pool: Pool,
    size: int,
    *,
    balance: Balance = "equal",
    already: NDArray[np.int64] = NO_INDICES,
    excluded: NDArray[np.int64] = NO_INDICES,
) -> NDArray[np.int64] | None:
    """Number of new images to select from each class (classes,); None if classes are not balanced.

    Raises `UserError` for a size that the pool or one of its classes cannot provide.
    """
    candidates = _candidates(pool, already, excluded)
    if not 1 <= size <= len(candidates):
        without = f" when {len(excluded):,} are excluded" if len(excluded) else ""
        raise UserError(f"{size:,} examples are requested, but there are {len(candidates):,} training images{without}.")
    if size <= len(already):
        raise UserError(
            f"{len(already):,} images have been selected already, so --examples must be above that, not {size:,}."
        )
    if balance == "none" or not pool.images.has_one_class_each:
        return None
    labels, names = pool.labels, pool.images.classes
    return class_counts(labels[candidates], size, balance=balance, names=names, already=labels[already])


def check_size(images: Images, size: int, *, balance: Balance = "equal", already: Subset | None = None) -> None:
    """Raise `UserError` for a size that the images or one of their classes cannot provide."""
    pool = Pool(images, _no_signals)
    new_class_counts(
        pool, size, balance=balance, already=NO_INDICES if already is None else already.indices_for(images)
    )


def _no_signals() -> Signals:
    raise AssertionError("not used")


def _candidates(pool: Pool, already: NDArray[np.int64], excluded: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ascending indices of the images that may be selected or have been."""
    return np.union1d(np.setdiff1d(np.arange(len(pool)), excluded), already)


def _select_new(
    pool: Pool,
    size: int,
    method: BoundMethod,
    *,
    balance: Balance,
    already: NDArray[np.int64],
    excluded: NDArray[np.int64],
    seed: int,
) -> NDArray[np.int64]:
    """The new indices, best first."""
    counts = new_class_counts(pool, size, balance=balance, already=already, excluded=excluded)
    candidates = _candidates(pool, already, excluded)
    rng = np.random.default_rng(seed)
    if counts is None or method.accepts("counts"):
        return method(pool, size - len(already), rng=rng, already=already, counts=counts, candidates=candidates)
    return select_per_class(method, pool, counts, rng=rng, already=already, candidates=candidates)
