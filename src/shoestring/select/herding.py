"""Herding: a sequence of images whose mean follows the mean of all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.select.pool import Pool
from shoestring.select.similarity import products
from shoestring.select.ties import highest


def herding(pool: Pool, size: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Images whose running mean follows the mean of all, by herding (Welling 2009).

    A vector w starts at the mean of all features; each step takes the image with the largest product with w, each
    image once, and adds to w the mean less that image. O(N D) a step, memory O(N).
    """
    features = pool.features
    mean = features.mean(0, dtype=np.float64)
    towards = mean.copy()
    free = np.ones(len(features), dtype=bool)
    chosen = np.empty(size, dtype=np.int64)
    for place in range(size):
        along = products(features, towards.astype(np.float32))
        chosen[place] = pick = highest(np.where(free, along, -np.inf), rng)
        free[pick] = False
        towards += mean - features[pick]
    return chosen
