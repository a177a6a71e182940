"""Log-determinant: the images that span the largest volume."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.select.pool import Pool
from shoestring.select.similarity import products
from shoestring.select.ties import highest

_RIDGE = 1e-3  # on the diagonal: keeps the volume above zero when more images than dimensions are chosen


def log_det(pool: Pool, size: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Images that span the largest volume: the greedy mode of a determinantal point process (Chen et al. 2018).

    Greedy for log det(F F' + ridge) over the features F of the chosen, by one new column of the Cholesky factor per
    image: O(N k) memory, O(N k^2 + N k D) time. What an image adds is the log of its squared distance to the span of
    those chosen, so a duplicate of a chosen image comes last. All images are equal at first: the seed takes one.
    """
    features = pool.features
    rest = np.full(len(features), 1 + _RIDGE)  # squared distances to the span; of unit vectors at first
    factor = np.empty((size, len(features)), dtype=np.float32)
    chosen = np.empty(size, dtype=np.int64)
    for place in range(size):
        chosen[place] = pick = highest(rest, rng)
        along = products(features, features[pick]) - products(factor[:place].T, factor[:place, pick])
        factor[place] = along / np.sqrt(rest[pick])
        rest = np.maximum(rest - factor[place].astype(np.float64) ** 2, _RIDGE)  # less only by rounding
        rest[chosen[: place + 1]] = -np.inf
    return chosen
