"""Subsets of unit vectors that are as different from each other as can be, made better or drawn as a whole.

The cosine distances over all pairs of k unit vectors add up to (k^2 - |sum|^2) / 2, so the shorter the sum of the
chosen the better, and an exchange of x for y lengthens its square by 2 (1 - x.y - sum.x + sum.y).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.similarity import Floats, Places, along

Vectors = NDArray[np.float64]

_TRIED = 32  # images of either side whose exchanges are compared
_STEPS = 50_000  # exchanges that annealing tries
_COOLED = 1e-4  # the temperature at its end, as a share of that at its beginning


def best_exchanges(features: Floats, chosen: Places, already: Places, most: int) -> Places:
    """Exchange chosen images (k,) for others of (N, D) while that helps, the best exchange first, `most` times at most.

    The images that gain most without each other's term are tried as pairs, in float64. Those chosen `already` stay.
    """
    total = features[np.concatenate([already, chosen])].sum(0, dtype=np.float64)
    outside = np.ones(len(features), dtype=bool)
    outside[chosen] = outside[already] = False
    for _ in range(most if outside.any() else 0):
        against = along(features, total)
        come = np.flatnonzero(outside)
        come = come[_least(against[come])]
        go = _least(-against[chosen])
        coming, going = features[come].astype(np.float64), features[chosen[go]].astype(np.float64)
        change = 2 * (1 - going @ coming.T - (going @ total)[:, None] + coming @ total)
        best = np.unravel_index(change.argmin(), change.shape)
        if change[best] > -1e-9:
            break
        total = total - going[best[0]] + coming[best[1]]
        outside[chosen[go[best[0]]]], outside[come[best[1]]] = True, False
        chosen[go[best[0]]] = come[best[1]]
    return chosen


def anneal(features: Vectors, size: int, begun: Vectors, *, rng: np.random.Generator) -> Places:
    """So many of the images (N, D) by simulated annealing: random exchanges, worse ones ever more seldom accepted.

    A fixed number of exchanges; one that lengthens the square of the sum by c is accepted with probability
    exp(-c / temperature) (Kirkpatrick et al. 1983). The temperature falls geometrically, from what is usual for an
    exchange at first. The best choice on the way is given. `begun` (D,) is the sum of what is chosen beside them.
    """
    chosen = rng.choice(len(features), size, replace=False)
    others = _others(len(features), chosen)
    if not len(others):
        return chosen
    total = begun + features[chosen].sum(0)
    usual = 2 * float((features @ total).std()) or 1.0
    leaves, comes = (rng.integers(length, size=_STEPS) for length in (size, len(others)))
    allowed = -np.log(1 - rng.random(_STEPS)) * usual * np.geomspace(1, _COOLED, _STEPS)
    best, length, shortest = chosen.copy(), 0.0, 0.0  # lengths are less that at the beginning
    for leave, come, most in zip(leaves, comes, allowed):
        difference = features[others[come]] - features[chosen[leave]]
        change = float(2 * (total @ difference) + difference @ difference)
        if change <= most:
            chosen[leave], others[come] = others[come], chosen[leave]
            total += difference
            length += change
        if length < shortest:
            best, shortest = chosen.copy(), length
    return best


def best_draw(features: Vectors, size: int, begun: Vectors, draws: int, *, rng: np.random.Generator) -> Places:
    """The best of so many random subsets of the images (N, D), with `begun` (D,) the sum of what is chosen beside."""
    best, shortest = np.empty(0, dtype=np.int64), math.inf
    for _ in range(draws):
        chosen = rng.choice(len(features), size, replace=False)
        total = begun + features[chosen].sum(0)
        if (length := float(total @ total)) < shortest:
            best, shortest = chosen, length
    return best


def _least(values: NDArray[np.floating]) -> Places:
    """Places of the least values (N,), in no order."""
    return np.argpartition(values, _TRIED)[:_TRIED] if len(values) > _TRIED else np.arange(len(values))


def _others(count: int, chosen: Places) -> Places:
    """The places that are not chosen."""
    outside = np.ones(count, dtype=bool)
    outside[chosen] = False
    return np.flatnonzero(outside)
