"""Graph cut: typical images, less the likeness among those chosen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.algorithms.greedy import step_by_step
from shoestring.selection.algorithms.lazy import Falling
from shoestring.selection.algorithms.similarity import Floats, along
from shoestring.selection.pool import NOTHING, Pool


def graph_cut(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NOTHING,
    weight: float = 0.5,
) -> NDArray[np.int64]:
    """Images like all others but not like each other, by the graph cut function of Iyer et al. (2021).

    Greedy for f(S) = sum over i in V, j in S of s_ij - weight * sum over i, j in S of s_ij with s the cosine. Up to
    the weight 0.5 no image lowers f where cosines are positive; a greater weight spreads the choice more. The sums over
    V are products with the sum of all features, so there is no table. Raises `UserError` for a negative weight.
    """
    check_range(weight, "graph_cut's weight", ge=0)
    features = pool.features
    sums = along(features, features.sum(0)).astype(np.float64)
    rise = 2 * weight if features.min() < 0 else 0.0  # where no cosine is negative no gain rises

    def less(gains: NDArray[np.floating], cosines: Floats) -> NDArray[np.floating]:
        return gains - 2 * weight * cosines.sum(1, dtype=np.float64)

    gains = Falling(features, sums, less, rise)  # the pair of an image with itself is the same for all

    def lead(free: NDArray[np.bool_]) -> int:
        return gains.lead(free, rng)

    return step_by_step(len(features), size, lead, gains.add, already=already)
