"""k-center: no image far from all chosen ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.algorithms.greedy import step_by_step
from shoestring.selection.algorithms.lazy import Falling
from shoestring.selection.algorithms.similarity import Floats, along
from shoestring.selection.algorithms.ties import highest, lowest_first
from shoestring.selection.pool import NOTHING, Pool


def k_center(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NOTHING,
    outliers: float = 0.0,
) -> NDArray[np.int64]:
    """Farthest first: each next image is the one farthest from all chosen (Gonzalez 1985; Sener and Savarese 2018).

    The first is the one nearest to the mean, if none is chosen `already`. The share `outliers` of the images, those
    with the greatest mean squared distance to all others, is left out as long as others are free. Memory O(N).
    Raises `UserError` for a share outside 0 to 1.
    """
    check_range(outliers, "k_center's outliers", ge=0, lt=1)
    features = pool.features
    # for unit vectors the mean squared distance to all is 2 less twice this
    to_mean = along(features, features.mean(0))
    inner = np.ones(len(features), dtype=bool)
    inner[lowest_first(to_mean, rng)[: int(outliers * len(features))]] = False
    first = not len(already)
    distance = Falling(features, np.ones(len(features), dtype=np.float32), _less_near)

    def lead(free: NDArray[np.bool_]) -> int:
        among = free & inner if (free & inner).any() else free
        return highest(to_mean, rng, among) if first else distance.lead(among, rng)

    def add(pick: int) -> None:
        nonlocal first
        first = False
        distance.add(pick)

    return step_by_step(len(features), size, lead, add, already=already)


def _less_near(scores: NDArray[np.floating], cosines: Floats) -> NDArray[np.floating]:
    """The highest cosine with a chosen image, turned round: it only falls."""
    return np.minimum(scores, -cosines.max(1))
