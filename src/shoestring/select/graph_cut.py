"""Graph cut: typical images, less the likeness among those chosen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.select.pool import Pool
from shoestring.select.similarity import products
from shoestring.select.ties import highest
from shoestring.values import limited


def graph_cut(pool: Pool, size: int, *, rng: np.random.Generator, weight: float = 0.5) -> NDArray[np.int64]:
    """Images like all others but not like each other, by the graph cut function of Iyer et al. (2021).

    Greedy for f(S) = sum over i in V, j in S of s_ij - weight * sum over i, j in S of s_ij with s the cosine. Up to
    the weight 0.5 no image lowers f where cosines are positive; a greater weight spreads the choice more. The sums over
    V are products with the sum of all features, so there is no table. Raises `UserError` for a negative weight.
    """
    limited(weight, "graph_cut's weight", least=0)
    features = pool.features
    gains = products(features, features.sum(0)).astype(np.float64)
    chosen = np.empty(size, dtype=np.int64)
    for place in range(size):
        chosen[place] = pick = highest(gains, rng)  # the pair of an image with itself is the same for all
        gains -= 2 * weight * products(features, features[pick])
        gains[pick] = -np.inf
    return chosen
