"""The engine of the methods that cover: greedily the images that raise most the best similarity of every image."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shoestring.select.similarity import Floats, Places, Similarity
from shoestring.select.ties import TOLERANCE, highest

_BATCH = 16  # candidates that are looked at together at first; twice as many each further time


def cover(similarity: Similarity, size: int, *, rng: np.random.Generator, sample: float = 1.0) -> NDArray[np.int64]:
    """The greedy ranking (size,) for f(S) = sum over all i of max(0, max over j in S of similarity(i, j)).

    Exact, by lazy evaluation (Minoux 1978): what an image adds never grows, so one whose old gain is below another's
    present gain need not be looked at. With `sample` below 1 each step looks at that share of the images, drawn
    anew (stochastic greedy, Mirzasoleiman et al. 2015).
    """
    gains = Gains(similarity)
    free = np.ones(len(similarity), dtype=bool)
    chosen = np.empty(size, dtype=np.int64)
    for place in range(size):
        chosen[place] = pick = gains.leader(drawn(free, sample, rng), rng)
        gains.add(pick)
        free[pick] = False
    return chosen


def drawn(free: NDArray[np.bool_], sample: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A mask (N,) of this share of the free images, at least one; all of them without a random draw."""
    if sample >= 1:
        return free
    places = np.flatnonzero(free)
    mask = np.zeros_like(free)
    mask[rng.choice(places, math.ceil(sample * len(places)), replace=False, shuffle=False)] = True
    return mask


class Gains:
    """What each image would add: upper bounds (N,), made exact for those that matter.

    Every change of the best similarity of a point is logged. An image last looked at `e` changes ago loses over them
    clip(similarity, old, new) - old each, which costs e products instead of N.
    """

    def __init__(self, similarity: Similarity) -> None:
        count = len(similarity)
        self.similarity = similarity
        self.best = np.zeros(count, dtype=np.float32)
        self.bounds = np.full(count, np.inf)
        self.changes = 0  # of all time; the log holds the last ones
        self.seen = np.full(count, -count - 1, dtype=np.int64)  # changes when last looked at
        self.points = np.empty(0, dtype=np.int64)
        self.old, self.new = (np.empty(0, dtype=np.float32) for _ in range(2))

    def leader(self, looked: NDArray[np.bool_], rng: np.random.Generator) -> int:
        """The image, of those in the mask (N,), that adds most."""
        batch = _BATCH
        while True:
            bounds = np.where(looked, self.bounds, -np.inf)
            stale = looked & (self.seen < self.changes)
            ahead = np.where(stale, -np.inf, bounds).max()
            rivals = np.flatnonzero(stale & (bounds >= ahead - TOLERANCE))
            if not len(rivals):
                return highest(bounds, rng)
            if ahead > -np.inf and 2 * self._effort(rivals) > len(looked) ** 2:
                self._look_at_all()
            else:
                self._look(_top(rivals, bounds, batch))
                batch *= 2

    def add(self, pick: int) -> None:
        """Choose an image."""
        row = self.similarity.row(pick)
        nearer = np.flatnonzero(row > self.best)
        keep = max(1, int(self.similarity.window * len(row)))
        self.points = np.concatenate([self.points, nearer])[-keep:]
        self.old = np.concatenate([self.old, self.best[nearer]])[-keep:]
        self.new = np.concatenate([self.new, row[nearer]])[-keep:]
        self.best[nearer] = row[nearer]
        self.changes += len(nearer)
        self.bounds[pick] = -np.inf

    def _effort(self, rows: Places) -> int:
        """Products that looking at these images would cost."""
        return int(np.minimum(self.changes - self.seen[rows], len(self.best)).sum())

    def _look_at_all(self) -> None:
        self.bounds = np.where(self.bounds > -np.inf, self.similarity.all_gains(self.best), -np.inf)
        self.seen[:] = self.changes

    def _look(self, rows: Places) -> None:
        behind = self.changes - self.seen[rows]
        far = behind > len(self.points)
        if far.any():
            self.bounds[rows[far]] = self.similarity.gains(rows[far], self.best)
        magnitude = np.where(
            far, 0, np.frexp(behind)[1]
        )  # those of one magnitude together: the longest ago sets the cost
        for own in np.unique(magnitude[~far]):
            alike = magnitude == own
            self.bounds[rows[alike]] -= self._lost(rows[alike], behind[alike])
        self.seen[rows] = self.changes

    def _lost(self, rows: Places, behind: Places) -> NDArray[np.float64]:
        """What these images (R,) lost since they were looked at, so many changes ago (R,)."""
        longest = int(behind.max())
        old, new = self.old[-longest:], self.new[-longest:]
        values: Floats = self.similarity.at(rows, self.points[-longest:])
        lost = np.minimum(np.maximum(values, old), new) - old
        lost[np.arange(longest, 0, -1) > behind[:, None]] = 0
        return lost.sum(1, dtype=np.float64)


def _top(rows: Places, bounds: NDArray[np.float64], count: int) -> Places:
    if len(rows) <= count:
        return rows
    return rows[np.argpartition(bounds[rows], -count)[-count:]]
