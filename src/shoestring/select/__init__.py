"""Which images earn their place."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from shoestring import registry
from shoestring.errors import UserError
from shoestring.select.balance import per_class, within_classes
from shoestring.select.pool import Pool, Signals
from shoestring.select.subset import Subset

__all__ = ["Pool", "Signals", "Subset", "choose"]


def choose(
    pool: Pool, size: int, *, method: str, balance: str = "equal", seed: int = 0, options: dict[str, Any] | None = None
) -> Subset:
    """Choose `size` images of the pool by a registered method, best first.

    Raises `UserError` for unknown methods and options, and for sizes that the pool or a class cannot give.
    """
    options = registry.bind("select", method, options or {}, without=("rng",))
    strategy = partial(registry.find("select", method), **options)
    if not 1 <= size <= len(pool):
        raise UserError(f"{size:,} examples are asked for, but there are {len(pool):,} training images.")
    rng = np.random.default_rng(seed)
    if balance == "none":
        indices = strategy(pool, size, rng=rng)
    else:
        wanted = per_class(pool.labels, size, balance=balance, names=pool.images.classes)
        indices = within_classes(strategy, pool, wanted, rng=rng)
    ids = tuple(str(name) for name in pool.images.ids[indices])
    return Subset(indices, ids, pool.images.fingerprint, method, options, balance, seed)
