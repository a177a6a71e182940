"""Argmax and argsort with random tie-breaking: the index in the pool never decides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-6  # rounding error of sums of float32 products: equal images must tie wherever they are stored


def random_argmax(values: NDArray[np.floating], rng: np.random.Generator, mask: NDArray[np.bool_] | None = None) -> int:
    """Index of the highest of the values (N,), within the mask (N,) if given; random among those within `TOLERANCE`."""
    if mask is not None:
        values = np.where(mask, values, -np.inf)
    return int(rng.choice(np.flatnonzero(values >= values.max() - TOLERANCE)))


def random_argsort(values: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.int64]:
    """All indices (N,) in ascending order of the values, equal values in random order."""
    return np.lexsort((rng.random(len(values)), values))
