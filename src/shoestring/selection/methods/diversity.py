"""Images as different from each other as can be."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.algorithms.exchange import anneal, best_draw, best_exchanges
from shoestring.selection.algorithms.greedy import step_by_step
from shoestring.selection.algorithms.similarity import Floats, along
from shoestring.selection.algorithms.ties import highest
from shoestring.selection.pool import NOTHING, Pool


def diversity(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NOTHING,
    search: Literal["greedy", "annealing", "random"] = "greedy",
    swaps: int = 100,
    draws: int = 10_000,
) -> NDArray[np.int64]:
    """Images whose cosine distances to each other add up to most (max-sum diversification, Kabkab et al. 2016).

    For unit vectors the sum over all pairs is (k^2 - |sum of the chosen|^2) / 2, so each greedy step takes the image
    that points most against the sum so far: O(N D) a step and no table of distances. Then up to `swaps` chosen images
    are exchanged for better ones, one best exchange at a time. The search by "annealing" exchanges images at random,
    worse ones ever more seldom; that by "random" takes the best of so many `draws`, which is hardly better than one.
    Both give their images in greedy order. Images chosen `already` count in the sum and stay. Raises `UserError` for
    less than one draw.
    """
    check_range(draws, "diversity's draws", ge=1)
    features = pool.features
    if search == "greedy":
        return best_exchanges(features, _greedily(features, size, already, rng), already, swaps)
    free = np.setdiff1d(np.arange(len(features)), already)
    others, begun = features[free].astype(np.float64), features[already].sum(0, dtype=np.float64)
    if search == "annealing":
        chosen = free[anneal(others, size, begun, rng=rng)]
    else:
        chosen = free[best_draw(others, size, begun, draws, rng=rng)]
    both = features[np.concatenate([already, chosen])]
    return chosen[_greedily(both, size, np.arange(len(already)), rng) - len(already)]


def _greedily(features: Floats, size: int, already: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """The greedy ranking (size,) of unit vectors (N, D)."""
    total = np.zeros(features.shape[1])
    towards = features.sum(0, dtype=np.float64)  # the first image lies farthest from all others

    def lead(free: NDArray[np.bool_]) -> int:
        return highest(-along(features, towards), rng, free)

    def add(pick: int) -> None:
        nonlocal towards
        towards = np.add(total, features[pick], out=total)

    return step_by_step(len(features), size, lead, add, already=already)
