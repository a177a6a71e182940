"""k-center: no image far from all chosen ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.select.pool import Pool
from shoestring.select.similarity import products
from shoestring.select.ties import highest, lowest_first
from shoestring.values import limited


def k_center(pool: Pool, size: int, *, rng: np.random.Generator, outliers: float = 0.0) -> NDArray[np.int64]:
    """Farthest first: each next image is the one farthest from all chosen (Gonzalez 1985; Sener and Savarese 2018).

    The first is the one nearest to the mean. The share `outliers` of the images, those with the greatest mean squared
    distance to all others, is left out as long as others are free. Memory O(N).
    Raises `UserError` for a share outside 0 to 1.
    """
    limited(outliers, "k_center's outliers", least=0, below=1)
    features = pool.features
    to_mean = products(
        features, features.mean(0)
    )  # for unit vectors the mean squared distance to all is 2 less twice this
    free = np.ones(len(features), dtype=bool)
    free[lowest_first(to_mean, rng)[: int(outliers * len(features))]] = False
    left_out = ~free
    nearest = np.full(len(features), -1, dtype=np.float32)  # the highest cosine with a chosen image
    chosen = np.empty(size, dtype=np.int64)
    for place in range(size):
        if not free.any():
            free = left_out
        chosen[place] = pick = highest(np.where(free, -nearest if place else to_mean, -np.inf), rng)
        free[pick] = False
        np.maximum(nearest, products(features, features[pick]), out=nearest)
    return chosen
