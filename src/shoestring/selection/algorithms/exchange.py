"""Subsets of unit vectors of maximum total distance, by swaps, simulated annealing or random draws.

The cosine distances over all pairs of k unit vectors add up to (k^2 - |sum|^2) / 2, so the shorter the sum of the
selected vectors the better. Swapping x for y changes the squared length of the sum by 2 (1 - x.y - sum.x + sum.y).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.similarity import Floats, Indices, dot_with

Vectors = NDArray[np.float64]

_CANDIDATES = 32  # images on either side whose swaps are compared
_STEPS = 50_000  # swaps proposed by annealing
_FINAL_TEMPERATURE = 1e-4  # as a fraction of the initial one


def swap_greedily(features: Floats, selected: Indices, already: Indices, max_swaps: int) -> Indices:
    """Swap selected images (k,) for others of (N, D) while that helps, best swap first, `max_swaps` times at most.

    The images that gain most if each other's term is ignored are compared as pairs, in float64. Those in `already`
    stay.
    """
    total = features[np.concatenate([already, selected])].sum(0, dtype=np.float64)
    outside = np.ones(len(features), dtype=bool)
    outside[selected] = outside[already] = False
    for _ in range(max_swaps if outside.any() else 0):
        products = dot_with(features, total)
        entering = np.flatnonzero(outside)
        entering = entering[_smallest(products[entering])]
        leaving = _smallest(-products[selected])  # positions in `selected`
        new, old = features[entering].astype(np.float64), features[selected[leaving]].astype(np.float64)
        change = 2 * (1 - old @ new.T - (old @ total)[:, None] + new @ total)
        best = np.unravel_index(change.argmin(), change.shape)
        if change[best] > -1e-9:
            break
        total = total - old[best[0]] + new[best[1]]
        outside[selected[leaving[best[0]]]], outside[entering[best[1]]] = True, False
        selected[leaving[best[0]]] = entering[best[1]]
    return selected


def anneal(features: Vectors, size: int, initial_sum: Vectors, *, rng: np.random.Generator) -> Indices:
    """Select `size` of the images (N, D) by simulated annealing: (size,).

    A fixed number of random swaps is proposed; one that changes the squared length of the sum by c is accepted with
    probability exp(-c / temperature) (Kirkpatrick et al. 1983). The temperature falls geometrically from a typical
    change of the first swaps. Returns the best subset found. `initial_sum` (D,) is the sum of the images selected
    before.
    """
    selected = rng.choice(len(features), size, replace=False)
    others = _complement(len(features), selected)
    if not len(others):
        return selected
    total = initial_sum + features[selected].sum(0)
    initial_temperature = 2 * float((features @ total).std()) or 1.0
    leaving, entering = (rng.integers(length, size=_STEPS) for length in (size, len(others)))
    temperatures = np.geomspace(1, _FINAL_TEMPERATURE, _STEPS)
    allowed = -np.log(1 - rng.random(_STEPS)) * initial_temperature * temperatures
    best, length, shortest = selected.copy(), 0.0, 0.0  # squared lengths less the initial one
    for leave, enter, most in zip(leaving, entering, allowed):
        difference = features[others[enter]] - features[selected[leave]]
        change = float(2 * (total @ difference) + difference @ difference)
        if change <= most:
            selected[leave], others[enter] = others[enter], selected[leave]
            total += difference
            length += change
        if length < shortest:
            best, shortest = selected.copy(), length
    return best


def best_random(features: Vectors, size: int, initial_sum: Vectors, draws: int, *, rng: np.random.Generator) -> Indices:
    """Best of `draws` random subsets of the images (N, D); `initial_sum` (D,) is the sum of those selected before."""
    best, shortest = np.empty(0, dtype=np.int64), math.inf
    for _ in range(draws):
        selected = rng.choice(len(features), size, replace=False)
        total = initial_sum + features[selected].sum(0)
        if (length := float(total @ total)) < shortest:
            best, shortest = selected, length
    return best


def _smallest(values: NDArray[np.floating]) -> Indices:
    """Indices of the smallest values (N,), in no order."""
    return np.argpartition(values, _CANDIDATES)[:_CANDIDATES] if len(values) > _CANDIDATES else np.arange(len(values))


def _complement(count: int, selected: Indices) -> Indices:
    mask = np.ones(count, dtype=bool)
    mask[selected] = False
    return np.flatnonzero(mask)
