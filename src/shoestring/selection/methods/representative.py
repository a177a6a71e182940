"""Representative images: the mean of the chosen lies where the mean of all does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.algorithms.greedy import step_by_step
from shoestring.selection.algorithms.similarity import along
from shoestring.selection.algorithms.ties import highest
from shoestring.selection.pool import NOTHING, Pool


def representative(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NOTHING,
    diversity: float = 0.0,
) -> NDArray[np.int64]:
    """Images whose mean is near the mean of all, mixed with their diversity if wanted (Kabkab et al. 2016).

    Greedy: each next image maximises diversity * (mean cosine distance of two chosen images) - (1 - diversity) *
    (distance between the two means). Both follow from the sum of the chosen, O(N D) a step; no table.
    Raises `UserError` for a share of diversity outside 0 to 1.
    """
    check_range(diversity, "representative's diversity", ge=0, le=1)
    features = pool.features
    mean = features.mean(0, dtype=np.float64)
    to_mean = along(features, mean).astype(np.float64)
    total, held = np.zeros_like(mean), 0  # sum and number of the chosen

    def lead(free: NDArray[np.bool_]) -> int:
        count = held + 1
        squared = total @ total + 2 * along(features, total).astype(np.float64) + 1  # of the sum with each image
        apart = squared / count**2 - 2 * (total @ mean + to_mean) / count + mean @ mean
        spread = (count**2 - squared) / max(1, count * held)
        value = diversity * spread - (1 - diversity) * np.sqrt(np.maximum(apart, 0))
        return highest(value, rng, free)

    def add(pick: int) -> None:
        nonlocal held
        np.add(total, features[pick], out=total)
        held += 1

    return step_by_step(len(features), size, lead, add, already=already)
