"""Facility location in one pass over the features."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.partitions import merge_parts, summarize_part
from shoestring.selection.algorithms.similarity import Floats, slices
from shoestring.selection.balance import interleave
from shoestring.selection.pool import NO_INDICES, Pool

_READ = 65_536  # images that are read at once
_CHUNK = 4_096  # images of one class that are summarized together
_OVERSAMPLING = 4  # how many times as many images as requested the chunks keep


def streaming(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NO_INDICES,
    counts: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Facility location in one pass over the features, for data larger than memory (merge and reduce; Wei et al. 2014).

    Each chunk of images (of one class, if classes are balanced) is reduced by greedy selection to four times its part
    of the result, plus a sample of its other images. The result is selected greedily from what was kept. Memory grows
    with the size of the subset, not of the pool.
    """
    labels = np.zeros(len(pool), dtype=np.int64) if counts is None else pool.labels
    requested = np.array([size]) if counts is None else counts
    free = np.ones(len(pool), dtype=bool)
    free[already] = False
    fractions = _OVERSAMPLING * requested / np.maximum(np.bincount(labels[free], minlength=len(requested)), 1)
    summaries = [_ClassSummary(pool, already[labels[already] == label]) for label in range(len(requested))]
    for rows in slices(len(pool), _READ):
        indices = rows.start + np.flatnonzero(free[rows] & (requested[labels[rows]] > 0))
        features = pool.take(indices).features
        for label in np.unique(labels[indices]):
            own = np.flatnonzero(labels[indices] == label)
            for chunk in np.array_split(own, math.ceil(len(own) / _CHUNK)):
                kept = math.ceil(fractions[label] * len(chunk))
                summaries[label].add(indices[chunk], features[chunk], kept, rng)
    return interleave([one.select(int(count), rng) for one, count in zip(summaries, requested) if count])


class _ClassSummary:
    """What is kept of the chunks of one class, after the images selected before (K,)."""

    def __init__(self, pool: Pool, already: NDArray[np.int64]) -> None:
        self.already = len(already)
        self.indices, self.features = [already], [pool.take(already).features]
        self.witnesses: list[Floats] = []
        self.weights: list[Floats] = []

    def add(self, indices: NDArray[np.int64], features: Floats, size: int, rng: np.random.Generator) -> None:
        """Summarize a chunk, its indices (P,) and features (P, D), by `size` images."""
        summary = summarize_part(np.concatenate([self.features[0], features]), size, already=self.already, rng=rng)
        rows = summary.rows - self.already
        self.indices.append(indices[rows])
        self.features.append(features[rows])
        self.witnesses.append(features[summary.witnesses - self.already])
        self.weights.append(np.full(len(summary.witnesses), summary.weight, dtype=np.float32))

    def select(self, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Select the best of what was kept: indices (size,)."""
        features, witnesses, weights = map(np.concatenate, (self.features, self.witnesses, self.weights))
        selected = merge_parts(features, witnesses, weights, size, already=self.already, rng=rng)
        return np.concatenate(self.indices)[selected]
