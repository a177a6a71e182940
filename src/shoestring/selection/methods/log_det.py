"""Log-determinant: images that span the largest volume."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.greedy import greedy
from shoestring.selection.algorithms.similarity import dot_with, inner_products
from shoestring.selection.algorithms.ties import random_argmax
from shoestring.selection.pool import NO_INDICES, Pool

_RIDGE = 1e-3  # on the diagonal: keeps the volume positive if there are more images than dimensions


def log_det(
    pool: Pool, size: int, *, rng: np.random.Generator, already: NDArray[np.int64] = NO_INDICES
) -> NDArray[np.int64]:
    """Log-determinant: greedy MAP inference of a determinantal point process (Chen et al. 2018).

    Greedy for log det(F F' + ridge) over the features F of the selected, with one new column of the Cholesky factor per
    image: O(N k) memory, O(N k^2 + N k D) time. The gain of an image is the log of its squared distance to the span of
    those selected, so a duplicate of a selected image comes last. The first image is random, since all gains are equal.
    """
    features = pool.features
    residual = np.full(len(features), 1 + _RIDGE)  # squared distances to the span; at first, squared lengths
    factor = np.empty((len(already) + size, len(features)), dtype=np.float32)
    count = 0

    def best(free: NDArray[np.bool_]) -> int:
        return random_argmax(residual, rng, free)

    def add(pick: int) -> None:
        nonlocal count
        column = dot_with(features, features[pick]) - inner_products(factor[:count].T, factor[:count, pick])
        factor[count] = column / np.sqrt(residual[pick])
        np.maximum(residual - factor[count].astype(np.float64) ** 2, _RIDGE, out=residual)  # below it only by rounding
        count += 1

    return greedy(len(features), size, best, add, already=already)
