"""The engine of the methods that cover: greedily the images that raise most the best similarity of every image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.greedy import drawn, step_by_step
from shoestring.selection.algorithms.pairs import Pairs, pairs_above
from shoestring.selection.algorithms.similarity import Places, Similarity, gains
from shoestring.selection.algorithms.ties import TOLERANCE, highest
from shoestring.selection.pool import NOTHING

_BATCH = 16  # candidates that are looked at together at first; twice as many each further time
_SAMPLE = 64  # images that tell how many pairs still count


def cover(
    similarity: Similarity,
    size: int,
    *,
    rng: np.random.Generator,
    sample: float = 1.0,
    already: NDArray[np.int64] = NOTHING,
) -> NDArray[np.int64]:
    """The greedy ranking (size,) for f(S) = sum over all i of max(0, max over j in S of similarity(i, j)).

    Exact. With `sample` below 1 each step looks at that share of the images, drawn anew (stochastic greedy,
    Mirzasoleiman et al. 2015).
    """
    adds = Gains(similarity)

    def lead(free: NDArray[np.bool_]) -> int:
        return adds.leader(drawn(free, sample, rng), rng)

    return step_by_step(len(similarity), size, lead, adds.add, already=already)


class Gains:
    """What each image would add, exact where it matters.

    Only a pair that is more alike than one of the two is like a chosen image can add anything. After few choices
    these pairs are so few that they are listed, and every gain is kept exact. Before that, gains are bounds made exact
    for those who might lead, by lazy evaluation (Minoux 1978): what an image adds never grows, so one whose old gain
    is below another's present gain need not be looked at.
    """

    def __init__(self, similarity: Similarity) -> None:
        count = len(similarity)
        self.similarity = similarity
        self.best = np.zeros(count, dtype=np.float32)
        self.bounds = np.full(count, np.inf)
        self.fresh = np.zeros(count, dtype=bool)  # whether the bound is exact
        self.pairs: Pairs | None = None
        self._sample = np.arange(0, count, max(1, count // _SAMPLE))
        self._rows = similarity.rows(self._sample) if count**2 > similarity.room else None

    def leader(self, looked: NDArray[np.bool_], rng: np.random.Generator) -> int:
        """The image, of those in the mask (N,), that adds most."""
        if self.pairs is None and (expected := self._expected()) <= self.similarity.room:
            self.pairs = pairs_above(self.similarity, self.best, expected)
        if self.pairs is not None:
            return highest(self.pairs.gains, rng, looked)
        batch = _BATCH
        while True:
            stale = looked & ~self.fresh
            ahead = np.where(looked & self.fresh, self.bounds, -np.inf).max()
            rivals = np.flatnonzero(stale & (self.bounds >= ahead - TOLERANCE))
            if not len(rivals):
                return highest(self.bounds, rng, looked)
            if ahead > -np.inf and 2 * len(rivals) > len(looked):
                self.bounds, self.fresh[:] = self.similarity.all_gains(self.best), True
            else:
                self._look(_top(rivals, self.bounds, batch))
                batch *= 2

    def add(self, pick: int) -> None:
        """Choose an image."""
        if self.pairs is not None:
            self.pairs.add(*self.pairs.row(pick))
        else:
            np.maximum(self.best, self.similarity.rows(np.array([pick]))[0], out=self.best)
            self.fresh[:] = False

    def _look(self, rows: Places) -> None:
        self.bounds[rows] = gains(self.similarity, rows, self.best)
        self.fresh[rows] = True

    def _expected(self) -> int:
        """About how many pairs still count."""
        if self._rows is None:
            return len(self.best) ** 2
        count = np.count_nonzero((self._rows > self.best[self._sample, None]) | (self._rows > self.best))
        return int(count / self._rows.size * len(self.best) ** 2)


def _top(rows: Places, bounds: NDArray[np.float64], count: int) -> Places:
    if len(rows) <= count:
        return rows
    return rows[np.argpartition(bounds[rows], -count)[-count:]]
