"""Herding: a sequence of images whose mean follows the mean of all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.greedy import step_by_step
from shoestring.selection.algorithms.similarity import along
from shoestring.selection.algorithms.ties import highest
from shoestring.selection.pool import NOTHING, Pool


def herding(
    pool: Pool, size: int, *, rng: np.random.Generator, already: NDArray[np.int64] = NOTHING
) -> NDArray[np.int64]:
    """Images whose running mean follows the mean of all, by herding (Welling 2009).

    A vector w starts at the mean of all features; each step takes the image with the largest product with w, each
    image once, and adds to w the mean less that image. O(N D) a step, memory O(N).
    """
    features = pool.features
    mean = features.mean(0, dtype=np.float64)
    towards = mean.copy()

    def lead(free: NDArray[np.bool_]) -> int:
        return highest(along(features, towards), rng, free)

    def add(pick: int) -> None:
        np.add(towards, mean - features[pick], out=towards)

    return step_by_step(len(features), size, lead, add, already=already)
