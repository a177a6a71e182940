"""Which images earn their place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring import registry
from shoestring.errors import UserError
from shoestring.select.balance import per_class, within_classes
from shoestring.select.pool import NOTHING, Pool, Signals
from shoestring.select.strategy import Strategy
from shoestring.select.subset import Subset

__all__ = ["NOTHING", "Pool", "Signals", "Subset", "choose"]


def choose(
    pool: Pool,
    size: int,
    *,
    method: str,
    balance: str = "equal",
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
    own = {"within": within, "kept": len(already), "left_out": len(left_out)}
    return Subset(indices, ids, pool.images.fingerprint, method, options, balance, seed, **own)


def _choose(
    pool: Pool,
    size: int,
    strategy: Strategy,
    *,
    balance: str,
    already: NDArray[np.int64],
    left_out: NDArray[np.int64],
    seed: int,
) -> NDArray[np.int64]:
    """The new places, best first."""
    rows = np.union1d(np.setdiff1d(np.arange(len(pool)), left_out), already)
    if not 1 <= size <= len(rows):
        beside = f" when {len(left_out):,} are left out" if len(left_out) else ""
        raise UserError(f"{size:,} examples are asked for, but there are {len(rows):,} training images{beside}.")
    if size <= len(already):
        raise UserError(f"{len(already):,} images are chosen already, so --examples must be above that, not {size:,}.")
    part, before = (pool.part(rows), np.searchsorted(rows, already)) if len(left_out) else (pool, already)
    rng = np.random.default_rng(seed)
    if balance == "none":
        return rows[strategy(part, size - len(already), rng=rng, already=before)]
    wanted = per_class(part.labels, size, balance=balance, names=pool.images.classes, already=before)
    if strategy.takes("counts"):
        return rows[strategy(part, int(wanted.sum()), rng=rng, already=before, counts=wanted)]
    return rows[within_classes(strategy, part, wanted, rng=rng, already=before)]
