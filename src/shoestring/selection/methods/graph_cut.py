"""Graph cut: similarity to all images minus similarity among the selected."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.algorithms.greedy import greedy
from shoestring.selection.algorithms.lazy import LazyScores
from shoestring.selection.algorithms.similarity import Floats, dot_with
from shoestring.selection.pool import NO_INDICES, Pool


def graph_cut(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NO_INDICES,
    weight: float = 0.5,
) -> NDArray[np.int64]:
    """Graph cut: images similar to all others but not to each other (Iyer et al. 2021).

    Greedy for f(S) = sum over i in V, j in S of s_ij - weight * sum over i, j in S of s_ij with s the cosine. For
    weights up to 0.5 f is monotone if cosines are positive; a greater weight makes the subset more diverse. The sums
    over V are products with the sum of all features, so no similarity matrix is needed. Raises `UserError` for a
    negative weight.
    """
    check_range(weight, "graph_cut's weight", ge=0)
    features = pool.features
    sums = dot_with(features, features.sum(0)).astype(np.float64)
    max_rise = 2 * weight if features.min() < 0 else 0.0  # without negative cosines no gain rises

    def update(gains: NDArray[np.floating], cosines: Floats) -> NDArray[np.floating]:
        return gains - 2 * weight * cosines.sum(1, dtype=np.float64)

    gains = LazyScores(features, sums, update, max_rise)  # s_ii is omitted: it is the same for all images

    def best(free: NDArray[np.bool_]) -> int:
        return gains.best(free, rng)

    return greedy(len(features), size, best, gains.add, already=already)
