"""How many of each class: a wrapper over any strategy, which then chooses inside each class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shoestring.errors import UserError
from shoestring.select.pool import Pool

Strategy = Callable[..., NDArray[np.int64]]


def per_class(labels: NDArray[np.int64], size: int, *, balance: str, names: tuple[str, ...]) -> NDArray[np.int64]:
    """Images to choose of each class (classes,), together `size`.

    Equal shares differ by one at most. Raises `UserError` when a class has fewer images than its share.
    """
    held = np.bincount(labels, minlength=len(names))
    shares = np.full(len(names), 1 / len(names)) if balance == "equal" else held / held.sum()
    wanted = np.floor(shares * size + 1e-9).astype(np.int64)
    # The remainder goes where rounding down took most; among equals, to the classes that hold most images.
    short = np.lexsort((-held, -np.round(shares * size - wanted, 9)))[: size - wanted.sum()]
    wanted[short] += 1
    for name, have, want in zip(names, held, wanted):
        if have < want:
            raise UserError(
                f"class '{name}' has {have:,} training images, but {want:,} of each are asked for "
                f"({size:,} examples in {len(names)} classes). Ask for fewer, or use --balance proportional."
            )
    return wanted


def within_classes(
    strategy: Strategy, pool: Pool, wanted: NDArray[np.int64], *, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Let the strategy choose in each class, and merge best first: every prefix keeps the classes' proportions."""
    chosen, rank = [], []
    for label, count in enumerate(wanted):
        rows = np.flatnonzero(pool.labels == label)
        if count:
            picks = strategy(pool.part(rows), int(count), rng=rng)
            chosen.append(rows[picks])
            rank.append((np.arange(count) + 0.5) / count)
    return np.concatenate(chosen)[np.argsort(np.concatenate(rank), kind="stable")]
