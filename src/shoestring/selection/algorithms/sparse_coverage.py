"""Greedy coverage over k nearest neighbors only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.greedy import greedy, sample_mask
from shoestring.selection.algorithms.pairs import PairList
from shoestring.selection.algorithms.similarity import Floats, slices
from shoestring.selection.algorithms.ties import random_argmax
from shoestring.selection.pool import NO_INDICES


def greedy_neighbor_coverage(
    neighbors: NDArray[np.int32],
    cosines: Floats,
    size: int,
    *,
    rng: np.random.Generator,
    sample: float = 1.0,
    already: NDArray[np.int64] = NO_INDICES,
    candidates: int = 0,
) -> NDArray[np.int64]:
    """Greedy ranking (size,) for f(S) = sum over i of the highest positive cosine of i with a neighbor in S.

    `neighbors` and their `cosines` are (P, K): for each of P images, K of the `candidates` (a number; 0: the P images
    themselves). Each step considers a random fraction `sample` of the candidates.
    """
    points, count = neighbors.shape
    total = candidates or points
    entries_by_neighbor, ends = _group_by_neighbor(neighbors, total)
    gains = np.zeros(total)
    for part in slices(points, 4096):
        positive = np.maximum(cosines[part], 0).ravel()
        gains += np.bincount(neighbors[part].ravel(), weights=positive, minlength=total)
    starts = np.arange(points + 1) * count
    pairs = PairList(starts, neighbors.ravel(), cosines.ravel(), np.zeros(points, dtype=np.float32), gains)

    def best(free: NDArray[np.bool_]) -> int:
        return random_argmax(pairs.gains, rng, sample_mask(free, sample, rng))

    def add(pick: int) -> None:
        entries = entries_by_neighbor[ends[pick - 1] if pick else 0 : ends[pick]]
        pairs.add(entries // count, pairs.values[entries])

    return greedy(total, size, best, add, already=already)


def _group_by_neighbor(neighbors: NDArray[np.int32], total: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Flat indices into `neighbors` grouped by the neighbor found there, and where each group ends."""
    entries = np.argsort(neighbors, axis=None, kind="stable")
    return entries, np.cumsum(np.bincount(neighbors.ravel(), minlength=total))
