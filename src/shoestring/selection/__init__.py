"""Which images earn their place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.config import registry
from shoestring.errors import UserError
from shoestring.selection.balance import Balance, per_class, within_classes
from shoestring.selection.pool import NOTHING, Pool, Signals
from shoestring.selection.strategy import Strategy
from shoestring.selection.subset import Subset

__all__ = ["NOTHING", "Pool", "Signals", "Subset", "choose", "new_of_each"]


def choose(
    pool: Pool,
    size: int,
    *,
    method: str,
    balance: Balance = "equal",
    within: str | None = None,
    already: NDArray[np.int64] = NOTHING,
    left_out: NDArray[np.int64] = NOTHING,
    seed: int = 0,
    options: dict[str, Any] | None = None,
) -> Subset:
    """Choose `size` images of the pool by a registered method, best first.

    With `within` ("easiest:0.2", "hardest:0.1", "middle:0.5") the method sees that part of the images only, by their
    margin and in each class where classes are balanced. `already` (K,) are places that have been chosen before: they
    come first, and `size` counts them. The places in `left_out` are not chosen. Images without labels are not balanced.
    Raises `UserError` for unknown methods and options, and for sizes that the pool, a class or the part cannot give.
    """
    options = registry.bind("select", method, options or {})
    strategy = Strategy(registry.find("select", method), options, within)
    balance = "none" if pool.images.labels is None else balance
    new = _choose(pool, size, strategy, balance=balance, already=already, left_out=left_out, seed=seed)
    indices = np.concatenate([already, new])
    ids = tuple(str(name) for name in pool.images.ids[indices])
    held = balance if isinstance(balance, str) else dict(balance)
    own = {"within": within, "kept": len(already), "left_out": len(left_out)}
    return Subset(indices, ids, pool.images.fingerprint, method, options, held, seed, **own)


def new_of_each(
    pool: Pool,
    size: int,
    *,
    balance: Balance = "equal",
    already: NDArray[np.int64] = NOTHING,
    left_out: NDArray[np.int64] = NOTHING,
) -> NDArray[np.int64] | None:
    """How many of each class (classes,) are chosen anew; None where classes do not count.

    Raises `UserError` for a size that the pool, or a class of it, cannot give.
    """
    rows = _left(pool, already, left_out)
    if not 1 <= size <= len(rows):
        beside = f" when {len(left_out):,} are left out" if len(left_out) else ""
        raise UserError(f"{size:,} examples are asked for, but there are {len(rows):,} training images{beside}.")
    if size <= len(already):
        raise UserError(f"{len(already):,} images are chosen already, so --examples must be above that, not {size:,}.")
    if balance == "none" or pool.images.labels is None:
        return None
    names, before = pool.images.classes, np.searchsorted(rows, already)
    return per_class(pool.labels[rows], size, balance=balance, names=names, already=before)


def _left(pool: Pool, already: NDArray[np.int64], left_out: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places, ascending, of the images that can be chosen or have been."""
    return np.union1d(np.setdiff1d(np.arange(len(pool)), left_out), already)


def _choose(
    pool: Pool,
    size: int,
    strategy: Strategy,
    *,
    balance: Balance,
    already: NDArray[np.int64],
    left_out: NDArray[np.int64],
    seed: int,
) -> NDArray[np.int64]:
    """The new places, best first."""
    wanted = new_of_each(pool, size, balance=balance, already=already, left_out=left_out)
    rows = _left(pool, already, left_out)
    part, before = (pool.part(rows), np.searchsorted(rows, already)) if len(left_out) else (pool, already)
    rng = np.random.default_rng(seed)
    if wanted is None:
        return rows[strategy(part, size - len(already), rng=rng, already=before)]
    if strategy.takes("counts"):
        return rows[strategy(part, int(wanted.sum()), rng=rng, already=before, counts=wanted)]
    return rows[within_classes(strategy, part, wanted, rng=rng, already=before)]
