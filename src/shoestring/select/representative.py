"""Representative images: the mean of the chosen lies where the mean of all does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.select.pool import Pool
from shoestring.select.similarity import products
from shoestring.select.ties import highest
from shoestring.values import limited


def representative(pool: Pool, size: int, *, rng: np.random.Generator, diversity: float = 0.0) -> NDArray[np.int64]:
    """Images whose mean is near the mean of all, mixed with their diversity if wanted (Kabkab et al. 2016).

    Greedy: each next image maximises diversity * (mean cosine distance of two chosen images) - (1 - diversity) *
    (distance between the two means). Both follow from the sum of the chosen, O(N D) a step; no table.
    Raises `UserError` for a share of diversity outside 0 to 1.
    """
    limited(diversity, "representative's diversity", least=0, most=1)
    features = pool.features
    mean = features.mean(0, dtype=np.float64)
    to_mean = _along(features, mean)
    free = np.ones(len(features), dtype=bool)
    total = np.zeros_like(mean)
    chosen = np.empty(size, dtype=np.int64)
    for place in range(size):
        count = place + 1
        squared = total @ total + 2 * _along(features, total) + 1  # length of the sum with each image, squared
        apart = squared / count**2 - 2 * (total @ mean + to_mean) / count + mean @ mean
        spread = (count**2 - squared) / max(1, count * place)
        value = diversity * spread - (1 - diversity) * np.sqrt(np.maximum(apart, 0))
        chosen[place] = pick = highest(np.where(free, value, -np.inf), rng)
        free[pick] = False
        total += features[pick]
    return chosen


def _along(features: NDArray[np.float32], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return products(features, vector.astype(np.float32)).astype(np.float64)
