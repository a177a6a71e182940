"""Max-sum diversification."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.algorithms.exchange import anneal, best_random, swap_greedily
from shoestring.selection.algorithms.greedy import greedy
from shoestring.selection.algorithms.similarity import Floats, dot_with
from shoestring.selection.algorithms.ties import random_argmax
from shoestring.selection.pool import NO_INDICES, Pool


def diversity(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NO_INDICES,
    search: Literal["greedy", "annealing", "random"] = "greedy",
    swaps: int = 100,
    draws: int = 10_000,
) -> NDArray[np.int64]:
    """Maximum sum of pairwise cosine distances (max-sum diversification, Kabkab et al. 2016).

    For unit vectors the sum over all pairs is (k^2 - |sum of the selected|^2) / 2, so each greedy step takes the image
    with the lowest inner product with the sum so far: O(N D) per step, without a distance matrix. Then up to `swaps`
    selected images are replaced, best swap first. The search "annealing" uses simulated annealing, "random" takes the
    best of `draws` random subsets, which is hardly better than a single one; both return their images in greedy order.
    Images in `already` count in the sum and are never replaced. Raises `UserError` for fewer than one draw.
    """
    check_range(draws, "diversity's draws", ge=1)
    features = pool.features
    if search == "greedy":
        return swap_greedily(features, _rank_greedily(features, size, already, rng), already, swaps)
    free = np.setdiff1d(np.arange(len(features)), already)
    others, initial_sum = features[free].astype(np.float64), features[already].sum(0, dtype=np.float64)
    if search == "annealing":
        selected = free[anneal(others, size, initial_sum, rng=rng)]
    else:
        selected = free[best_random(others, size, initial_sum, draws, rng=rng)]
    both = features[np.concatenate([already, selected])]
    return selected[_rank_greedily(both, size, np.arange(len(already)), rng) - len(already)]


def _rank_greedily(
    features: Floats, size: int, already: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Greedy ranking (size,) of unit vectors (N, D)."""
    total = np.zeros(features.shape[1])
    reference = features.sum(0, dtype=np.float64)  # the first image is the one farthest from all others

    def best(free: NDArray[np.bool_]) -> int:
        return random_argmax(-dot_with(features, reference), rng, free)

    def add(pick: int) -> None:
        nonlocal reference
        reference = np.add(total, features[pick], out=total)

    return greedy(len(features), size, best, add, already=already)
