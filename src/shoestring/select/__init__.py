"""Which images earn their place."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring import registry
from shoestring.errors import UserError
from shoestring.select.balance import Strategy, per_class, within_classes
from shoestring.select.pool import Pool, Signals
from shoestring.select.subset import Subset
from shoestring.select.within import rows_within

__all__ = ["Pool", "Signals", "Subset", "choose"]


def choose(
    pool: Pool,
    size: int,
    *,
    method: str,
    balance: str = "equal",
    within: str | None = None,
    seed: int = 0,
    options: dict[str, Any] | None = None,
) -> Subset:
    """Choose `size` images of the pool by a registered method, best first.

    With `within` ("easiest:0.2", "hardest:0.1", "middle:0.5") the method sees that part of the images only, by their
    margin and in each class where classes are balanced. Raises `UserError` for unknown methods and options, and for
    sizes that the pool, a class or the part cannot give.
    """
    options = registry.bind("select", method, options or {}, without=("rng",))
    strategy = partial(registry.find("select", method), **options)
    if within is not None:
        strategy = partial(_inside, strategy, within)
    if not 1 <= size <= len(pool):
        raise UserError(f"{size:,} examples are asked for, but there are {len(pool):,} training images.")
    rng = np.random.default_rng(seed)
    if balance == "none":
        indices = strategy(pool, size, rng=rng)
    else:
        wanted = per_class(pool.labels, size, balance=balance, names=pool.images.classes)
        indices = within_classes(strategy, pool, wanted, rng=rng)
    ids = tuple(str(name) for name in pool.images.ids[indices])
    return Subset(indices, ids, pool.images.fingerprint, method, options, balance, seed, within)


def _inside(strategy: Strategy, within: str, pool: Pool, size: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """The strategy on a part of the pool by difficulty."""
    rows = rows_within(pool, within, least=size)
    return rows[strategy(pool.part(rows), size, rng=rng)]
