"""Images as different from each other as can be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.select.pool import Pool


def diversity(pool: Pool, size: int, *, rng: np.random.Generator, swaps: int = 100) -> NDArray[np.int64]:
    """Images whose cosine distances to each other add up to most (max-sum diversification, Kabkab et al. 2016).

    For unit vectors the sum over all pairs is (k^2 - |sum of the chosen|^2) / 2, so each greedy step takes the image
    that points most against the sum so far: O(N D) a step and no table of distances. Then up to `swaps` chosen images
    are exchanged for better ones, one best exchange at a time.
    """
    features = pool.features.astype(np.float64)
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
    return _exchange(features, np.array(chosen, dtype=np.int64), total, swaps)


def _exchange(
    features: NDArray[np.float64], chosen: NDArray[np.int64], total: NDArray[np.float64], swaps: int
) -> NDArray[np.int64]:
    """Exchange a chosen image for another while that shortens the sum of the chosen, the best exchange first.

    Without the image i and with j the squared length is |t - x_i + x_j|^2; for unit vectors it changes by
    2 - 2 x_i.x_j - 2 t.x_i + 2 t.x_j. The images that gain most without each other's term are tried as pairs.
    """
    tried = 32
    for _ in range(swaps):
        along = features @ total
        outside = np.ones(len(features), dtype=bool)
        outside[chosen] = False
        candidates = np.flatnonzero(outside)
        if not len(candidates):
            break
        come = candidates[np.argsort(along[candidates], kind="stable")[:tried]]
        go = np.argsort(-along[chosen], kind="stable")[:tried]
        change = 2 * (1 - features[chosen[go]] @ features[come].T - along[chosen[go]][:, None] + along[come][None, :])
        best = np.unravel_index(change.argmin(), change.shape)
        if change[best] > -1e-9:
            break
        leaving, coming = int(go[best[0]]), int(come[best[1]])
        total = total - features[chosen[leaving]] + features[coming]
        chosen[leaving] = coming
    return chosen
