"""Log-determinant: the images that span the largest volume."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.greedy import step_by_step
from shoestring.selection.algorithms.similarity import along, products
from shoestring.selection.algorithms.ties import highest
from shoestring.selection.pool import NOTHING, Pool

_RIDGE = 1e-3  # on the diagonal: keeps the volume above zero when more images than dimensions are chosen


def log_det(
    pool: Pool, size: int, *, rng: np.random.Generator, already: NDArray[np.int64] = NOTHING
) -> NDArray[np.int64]:
    """Images that span the largest volume: the greedy mode of a determinantal point process (Chen et al. 2018).

    Greedy for log det(F F' + ridge) over the features F of the chosen, by one new column of the Cholesky factor per
    image: O(N k) memory, O(N k^2 + N k D) time. What an image adds is the log of its squared distance to the span of
    those chosen, so a duplicate of a chosen image comes last. All images are equal at first: the seed takes one.
    """
    features = pool.features
    rest = np.full(len(features), 1 + _RIDGE)  # squared distances to the span; of unit vectors at first
    factor = np.empty((len(already) + size, len(features)), dtype=np.float32)
    held = 0

    def lead(free: NDArray[np.bool_]) -> int:
        return highest(rest, rng, free)

    def add(pick: int) -> None:
        nonlocal held
        beyond = along(features, features[pick]) - products(factor[:held].T, factor[:held, pick])
        factor[held] = beyond / np.sqrt(rest[pick])
        np.maximum(rest - factor[held].astype(np.float64) ** 2, _RIDGE, out=rest)  # less only by rounding
        held += 1

    return step_by_step(len(features), size, lead, add, already=already)
