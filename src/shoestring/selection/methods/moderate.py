"""Moderate coreset: neither the most typical nor the least typical images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.similarity import dot_with
from shoestring.selection.algorithms.ties import random_argsort
from shoestring.selection.pool import Pool


def moderate(pool: Pool, size: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Images whose distance to the class mean is closest to the median distance (moderate coreset, Xia et al. 2023).

    The mean is that of the pool: of each class if classes are balanced, otherwise of all images. O(N D).
    """
    features = pool.features
    mean = features.mean(0, dtype=np.float64)
    to_mean = dot_with(features, mean).astype(np.float64)
    distances = np.sqrt(np.maximum(1 - 2 * to_mean + mean @ mean, 0))
    return random_argsort(np.abs(distances - np.median(distances)), rng)[:size]
