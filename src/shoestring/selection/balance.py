"""How many of each class: a wrapper over any strategy, which then chooses inside each class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from shoestring.errors import UserError, unknown
from shoestring.selection.pool import NOTHING, Pool
from shoestring.selection.strategy import Strategy

Balance = str | Mapping[str, int]

WAYS = ("equal", "proportional", "none")


def parse(balance: Balance) -> Balance:
    """'equal', 'proportional' or 'none' as they are, 'cat=50,dog=20' as numbers; `UserError` for anything else."""
    if not isinstance(balance, str):
        for name, number in balance.items():
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise UserError(f"balance says {number!r} for class '{name}', and that is no number of images.")
        return balance
    if balance in WAYS:
        return balance
    if "=" not in balance:
        raise unknown("balance", balance, WAYS, hint="Or numbers for some classes: cat=50,dog=20.")
    numbers: dict[str, int] = {}
    for entry in balance.split(","):
        name, _, number = (part.strip() for part in entry.rpartition("="))
        if not name or not number.isascii() or not number.isdigit() or name in numbers:
            raise UserError(f"'{entry.strip()}' in --balance is not a class and its number. Write cat=50,dog=20.")
        numbers[name] = int(number)
    return numbers


def per_class(
    labels: NDArray[np.int64],
    size: int,
    *,
    balance: Balance,
    names: tuple[str, ...],
    already: NDArray[np.int64] = NOTHING,
) -> NDArray[np.int64]:
    """New images to choose of each class (classes,), which with those chosen `already` (places) are `size`.

    Equal shares differ by one at most. Numbers for some classes ('cat=50') leave equal shares of the rest to the
    others. A class that has more than its share already keeps them, and the others share what is left.
    Raises `UserError` when a class has fewer images than its share, and for numbers that do not add up.
    """
    held, have = (np.bincount(own, minlength=len(names)) for own in (labels, labels[already]))
    shares = held.astype(float) if balance == "proportional" else np.ones(len(names))
    fixed = np.full(len(names), -1)
    if not isinstance(numbers := parse(balance), str):
        for name, number in numbers.items():
            if name not in names:
                raise unknown("class in --balance", name, names)
            if have[names.index(name)] > number:
                raise UserError(f"more than the {number:,} images of class '{name}' in --balance are chosen already.")
            fixed[names.index(name)] = number
        _check_sum(fixed, size)
    while True:
        wanted = _divided(fixed, shares, size, held)
        if not (over := have > wanted).any():
            break
        fixed[over] = have[over]
        if fixed[fixed >= 0].sum() > size:
            raise UserError(f"more is chosen already than the {size:,} examples asked for with --balance {balance}.")
    for name, here, want in zip(names, held, wanted):
        if here < want:
            raise UserError(
                f"class '{name}' has {here:,} training images, but {want:,} of it are asked for "
                f"({size:,} examples in {len(names)} classes). Ask for fewer, or use --balance proportional."
            )
    return wanted - have


def _check_sum(fixed: NDArray[np.int64], size: int) -> None:
    total = int(fixed[fixed >= 0].sum())
    if total > size or ((fixed >= 0).all() and total != size):
        raise UserError(f"the numbers in --balance add up to {total:,}, and {size:,} examples are asked for.")


def _divided(
    fixed: NDArray[np.int64], shares: NDArray[np.float64], size: int, held: NDArray[np.int64]
) -> NDArray[np.int64]:
    """What is left of `size` beside the fixed numbers (-1 where none is), in these shares, by largest remainder."""
    open_, rest = fixed < 0, size - int(fixed[fixed >= 0].sum())
    if not open_.any():
        return fixed.copy()
    quota = np.where(open_, shares, 0.0) * (rest / max(shares[open_].sum(), 1e-300))
    wanted = np.floor(quota + 1e-9).astype(np.int64)
    # The remainder goes where rounding down took most; among equals, to the classes that hold most images.
    order = np.lexsort((-held, -np.round(quota - wanted, 9), ~open_))
    wanted[order[: rest - wanted.sum()]] += 1
    return np.where(open_, wanted, fixed)


def within_classes(
    strategy: Strategy,
    pool: Pool,
    wanted: NDArray[np.int64],
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NOTHING,
) -> NDArray[np.int64]:
    """Let the strategy choose in each class, and merge best first: every prefix keeps the classes' proportions."""
    chosen = []
    labels = pool.labels
    for label, count in enumerate(wanted):
        if count:
            rows = np.flatnonzero(labels == label)
            before = np.flatnonzero(np.isin(rows, already))
            picks = strategy(pool.part(rows), int(count), rng=rng, already=before)
            chosen.append(rows[picks])
    return interleaved(chosen)


def interleaved(chosen: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The choices of all classes, each best first, merged so that every prefix keeps their proportions."""
    if not chosen:
        return NOTHING
    rank = np.concatenate([(np.arange(len(own)) + 0.5) / len(own) for own in chosen])
    return np.concatenate(chosen)[np.argsort(rank, kind="stable")]
