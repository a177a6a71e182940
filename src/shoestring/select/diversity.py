"""Images as different from each other as can be."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.select.exchange import anneal, best_draw, best_exchanges
from shoestring.select.pool import Pool
from shoestring.values import limited


def diversity(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    search: Literal["greedy", "annealing", "random"] = "greedy",
    swaps: int = 100,
    draws: int = 10_000,
) -> NDArray[np.int64]:
    """Images whose cosine distances to each other add up to most (max-sum diversification, Kabkab et al. 2016).

    For unit vectors the sum over all pairs is (k^2 - |sum of the chosen|^2) / 2, so each greedy step takes the image
    that points most against the sum so far: O(N D) a step and no table of distances. Then up to `swaps` chosen images
    are exchanged for better ones, one best exchange at a time. The search by "annealing" exchanges images at random,
    worse ones ever more seldom; that by "random" takes the best of so many `draws`, which is hardly better than one.
    Both give their images in greedy order. Raises `UserError` for less than one draw.
    """
    limited(draws, "diversity's draws", least=1)
    features = pool.features.astype(np.float64)
    if search == "greedy":
        return best_exchanges(features, _greedily(features, size, rng), swaps)
    chosen = anneal(features, size, rng=rng) if search == "annealing" else best_draw(features, size, draws, rng=rng)
    return chosen[_greedily(features[chosen], size, rng)]


def _greedily(features: NDArray[np.float64], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The greedy ranking (size,) of unit vectors (N, D)."""
    free = np.ones(len(features), dtype=bool)
    chosen: list[int] = []
    towards = features.sum(0)  # the first image lies farthest from all others
    total = np.zeros_like(towards)
    for _ in range(size):
        against = np.where(free, features @ towards, np.inf)
        ties = np.flatnonzero(against == against.min())
        pick = int(rng.choice(ties))
        chosen.append(pick)
        free[pick] = False
        total += features[pick]
        towards = total
    return np.array(chosen, dtype=np.int64)
