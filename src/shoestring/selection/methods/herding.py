"""Herding: a sequence of images whose mean approximates the mean of all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.greedy import greedy
from shoestring.selection.algorithms.similarity import dot_with
from shoestring.selection.algorithms.ties import random_argmax
from shoestring.selection.pool import NO_INDICES, Pool


def herding(
    pool: Pool, size: int, *, rng: np.random.Generator, already: NDArray[np.int64] = NO_INDICES
) -> NDArray[np.int64]:
    """Herding: a sequence of images whose running mean approximates the mean of all (Welling 2009).

    A vector w starts at the mean of all features; each step takes the image with the highest inner product with w, each
    image once, and adds the mean minus that image to w. O(N D) per step, O(N) memory.
    """
    features = pool.features
    mean = features.mean(0, dtype=np.float64)
    w = mean.copy()

    def best(free: NDArray[np.bool_]) -> int:
        return random_argmax(dot_with(features, w), rng, free)

    def add(pick: int) -> None:
        np.add(w, mean - features[pick], out=w)

    return greedy(len(features), size, best, add, already=already)
