"""Representative images: their mean is near the mean of all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.algorithms.greedy import greedy
from shoestring.selection.algorithms.similarity import dot_with
from shoestring.selection.algorithms.ties import random_argmax
from shoestring.selection.pool import NO_INDICES, Pool


def representative(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NO_INDICES,
    diversity: float = 0.0,
) -> NDArray[np.int64]:
    """Images whose mean is near the mean of all, optionally traded off against diversity (Kabkab et al. 2016).

    Greedy: each step maximizes diversity * (mean cosine distance of two selected images) - (1 - diversity) * (distance
    between the two means). Both follow from the sum of the selected: O(N D) per step, no distance matrix.
    Raises `UserError` for a diversity outside 0 to 1.
    """
    check_range(diversity, "representative's diversity", ge=0, le=1)
    features = pool.features
    mean = features.mean(0, dtype=np.float64)
    to_mean = dot_with(features, mean).astype(np.float64)
    total, selected = np.zeros_like(mean), 0  # sum and number of the selected images

    def best(free: NDArray[np.bool_]) -> int:
        count = selected + 1
        squared = total @ total + 2 * dot_with(features, total).astype(np.float64) + 1  # of the sum with each image
        squared_distance = squared / count**2 - 2 * (total @ mean + to_mean) / count + mean @ mean
        spread = (count**2 - squared) / max(1, count * selected)
        value = diversity * spread - (1 - diversity) * np.sqrt(np.maximum(squared_distance, 0))
        return random_argmax(value, rng, free)

    def add(pick: int) -> None:
        nonlocal selected
        np.add(total, features[pick], out=total)
        selected += 1

    return greedy(len(features), size, best, add, already=already)
