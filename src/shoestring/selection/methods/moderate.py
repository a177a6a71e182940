"""Moderate images: neither the most typical nor the strangest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.similarity import along
from shoestring.selection.algorithms.ties import lowest_first
from shoestring.selection.pool import Pool


def moderate(pool: Pool, size: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Images whose distance to the mean of the class is nearest to the median distance (Xia et al. 2023).

    The mean is that of the pool: of each class when the choice is balanced, of all images otherwise. O(N D).
    """
    features = pool.features
    mean = features.mean(0, dtype=np.float64)
    to_mean = along(features, mean).astype(np.float64)
    distances = np.sqrt(np.maximum(1 - 2 * to_mean + mean @ mean, 0))
    return lowest_first(np.abs(distances - np.median(distances)), rng)[:size]
