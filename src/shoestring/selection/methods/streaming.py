"""Facility location in one pass over the features, for data larger than memory."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.partitions import among_left, left_by
from shoestring.selection.algorithms.similarity import Floats, slices
from shoestring.selection.balance import interleaved
from shoestring.selection.pool import NOTHING, Pool

_READ = 65_536  # images that are read together
_PIECE = 4_096  # images of one class that are chosen from together
_SPARE = 4  # times as many images as are wanted are left by the pieces


def streaming(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NOTHING,
    counts: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Facility location in one pass over the features, for data larger than memory (merge and reduce; Wei et al. 2014).

    Each piece of the images, of one class where classes are balanced, leaves four times its share, chosen greedily, and
    a sample of the others. Among all that is left the greedy choice is made again. Memory grows with what is chosen,
    not with the number of images.
    """
    labels = np.zeros(len(pool), dtype=np.int64) if counts is None else pool.labels
    wanted = np.array([size]) if counts is None else counts
    free = np.ones(len(pool), dtype=bool)
    free[already] = False
    shares = _SPARE * wanted / np.maximum(np.bincount(labels[free], minlength=len(wanted)), 1)
    heaps = [_Heap(pool, already[labels[already] == label]) for label in range(len(wanted))]
    for rows in slices(len(pool), _READ):
        places = rows.start + np.flatnonzero(free[rows] & (wanted[labels[rows]] > 0))
        features = pool.part(places).features
        for label in np.unique(labels[places]):
            own = np.flatnonzero(labels[places] == label)
            for piece in np.array_split(own, math.ceil(len(own) / _PIECE)):
                heaps[label].put(places[piece], features[piece], math.ceil(shares[label] * len(piece)), rng)
    return interleaved([heap.best(int(count), rng) for heap, count in zip(heaps, wanted) if count])


class _Heap:
    """What the pieces of one class leave, behind what had been chosen of it."""

    def __init__(self, pool: Pool, begun: NDArray[np.int64]) -> None:
        self.before = len(begun)
        self.places, self.chosen = [begun], [pool.part(begun).features]
        self.witnesses: list[Floats] = []
        self.weights: list[Floats] = []

    def put(self, places: NDArray[np.int64], features: Floats, size: int, rng: np.random.Generator) -> None:
        """Leave this many of a piece: its places (P,) and features (P, D)."""
        left = left_by(np.concatenate([self.chosen[0], features]), size, before=self.before, rng=rng)
        rows = left.rows - self.before
        self.places.append(places[rows])
        self.chosen.append(features[rows])
        self.witnesses.append(features[left.witnesses - self.before])
        self.weights.append(np.full(len(left.witnesses), left.weight, dtype=np.float32))

    def best(self, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """The places (size,) of the best of all that is left."""
        chosen, witnesses, weights = map(np.concatenate, (self.chosen, self.witnesses, self.weights))
        return np.concatenate(self.places)[among_left(chosen, witnesses, weights, size, before=self.before, rng=rng)]
