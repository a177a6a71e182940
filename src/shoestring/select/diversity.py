"""Images as different from each other as can be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.select.pool import NOTHING, Pool
from shoestring.select.similarity import Floats, along
from shoestring.select.steps import step_by_step
from shoestring.select.ties import highest

_TRIED = 32  # images to come, and images to go, that are tried as pairs


def diversity(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NOTHING,
    swaps: int = 100,
) -> NDArray[np.int64]:
    """Images whose cosine distances to each other add up to most (max-sum diversification, Kabkab et al. 2016).

    For unit vectors the sum over all pairs is (k^2 - |sum of the chosen|^2) / 2, so each greedy step takes the image
    that points most against the sum so far: O(N D) a step and no table of distances. Then up to `swaps` chosen images
    are exchanged for better ones, one best exchange at a time; those chosen `already` stay.
    """
    features = pool.features
    total = np.zeros(features.shape[1])
    towards = features.sum(0, dtype=np.float64)  # the first image lies farthest from all others

    def lead(free: NDArray[np.bool_]) -> int:
        return highest(-along(features, towards), rng, free)

    def add(pick: int) -> None:
        nonlocal towards
        towards = np.add(total, features[pick], out=total)

    chosen = step_by_step(len(features), size, lead, add, already=already)
    return _exchange(features, chosen, already, total, swaps)


def _exchange(
    features: Floats, chosen: NDArray[np.int64], already: NDArray[np.int64], total: NDArray[np.float64], swaps: int
) -> NDArray[np.int64]:
    """Exchange a chosen image for another while that shortens the sum of all chosen, the best exchange first.

    Without the image i and with j the squared length is |t - x_i + x_j|^2; for unit vectors it changes by
    2 - 2 x_i.x_j - 2 t.x_i + 2 t.x_j. The images that gain most without each other's term are tried as pairs.
    """
    outside = np.ones(len(features), dtype=bool)
    outside[chosen] = outside[already] = False
    for _ in range(swaps if outside.any() else 0):
        against = along(features, total)
        come = np.flatnonzero(outside)
        come = come[np.argsort(against[come], kind="stable")[:_TRIED]]
        go = np.argsort(-against[chosen], kind="stable")[:_TRIED]
        coming, going = features[come].astype(np.float64), features[chosen[go]].astype(np.float64)
        change = 2 * (1 - going @ coming.T - (going @ total)[:, None] + coming @ total)
        best = np.unravel_index(change.argmin(), change.shape)
        if change[best] > -1e-9:
            break
        total = total - going[best[0]] + coming[best[1]]
        outside[chosen[go[best[0]]]], outside[come[best[1]]] = True, False
        chosen[go[best[0]]] = come[best[1]]
    return chosen
