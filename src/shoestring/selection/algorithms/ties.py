"""One of the best, whichever: ties are broken by the random generator, never by the place in the pool."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-6  # what sums of float32 products cannot tell apart, so that equal images tie wherever they stand


def highest(values: NDArray[np.floating], rng: np.random.Generator, among: NDArray[np.bool_] | None = None) -> int:
    """The place of the highest value (N,), in the mask if given; by chance among those equal but for rounding."""
    if among is not None:
        values = np.where(among, values, -np.inf)
    return int(rng.choice(np.flatnonzero(values >= values.max() - TOLERANCE)))


def lowest_first(values: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.int64]:
    """All places (N,) in the order of their values, equal ones in random order."""
    return np.lexsort((rng.random(len(values)), values))
