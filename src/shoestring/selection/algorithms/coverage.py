"""Greedy maximization of coverage: the sum over all images of their highest similarity to a selected image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.greedy import greedy, sample_mask
from shoestring.selection.algorithms.pairs import PairList, list_pairs
from shoestring.selection.algorithms.similarity import Indices, Similarity, gains
from shoestring.selection.algorithms.ties import TOLERANCE, random_argmax
from shoestring.selection.pool import NO_INDICES

_BATCH = 16  # candidates whose gains are computed at once at first; doubled each time
_SAMPLE = 64  # images from which the number of pairs that still matter is estimated


def greedy_coverage(
    similarity: Similarity,
    size: int,
    *,
    rng: np.random.Generator,
    sample: float = 1.0,
    already: NDArray[np.int64] = NO_INDICES,
) -> NDArray[np.int64]:
    """Exact greedy ranking (size,) for f(S) = sum over all i of max(0, max over j in S of similarity(i, j)).

    With `sample` below 1 each step considers a new random fraction of the images (stochastic greedy, Mirzasoleiman et
    al. 2015).
    """
    state = CoverageGains(similarity)

    def best(free: NDArray[np.bool_]) -> int:
        return state.best_candidate(sample_mask(free, sample, rng), rng)

    return greedy(len(similarity), size, best, state.add, already=already)


class CoverageGains:
    """Gain of each image, exact where it matters.

    A pair can only add to the gain if it is more similar than one of the two is to a selected image. After a few
    selections there are so few of these pairs that they are listed, and every gain is kept exact. Before that, gains
    are upper bounds that are made exact for possible winners only, by lazy evaluation (Minoux 1978): gains never grow,
    so an image whose old gain is below the present gain of another need not be evaluated.
    """

    def __init__(self, similarity: Similarity) -> None:
        count = len(similarity)
        self.similarity = similarity
        self.best = np.zeros(count, dtype=np.float32)
        self.bounds = np.full(count, np.inf)
        self.exact = np.zeros(count, dtype=bool)  # whether the bound is the gain itself
        self.pairs: PairList | None = None
        self._sample = np.arange(0, count, max(1, count // _SAMPLE))
        self._rows = similarity.rows(self._sample) if count**2 > similarity.max_pairs else None

    def best_candidate(self, mask: NDArray[np.bool_], rng: np.random.Generator) -> int:
        """Return the image within the mask (N,) that has the highest gain."""
        if self.pairs is None and (expected := self._expected_pairs()) <= self.similarity.max_pairs:
            self.pairs = list_pairs(self.similarity, self.best, expected)
        if self.pairs is not None:
            return random_argmax(self.pairs.gains, rng, mask)
        batch = _BATCH
        while True:
            stale = mask & ~self.exact
            highest = np.where(mask & self.exact, self.bounds, -np.inf).max()
            rivals = np.flatnonzero(stale & (self.bounds >= highest - TOLERANCE))
            if not len(rivals):
                return random_argmax(self.bounds, rng, mask)
            if highest > -np.inf and 2 * len(rivals) > len(mask):
                self.bounds, self.exact[:] = self.similarity.all_gains(self.best), True
            else:
                self._evaluate(_top(rivals, self.bounds, batch))
                batch *= 2

    def add(self, pick: int) -> None:
        """Select an image."""
        if self.pairs is not None:
            self.pairs.add(*self.pairs.row(pick))
        else:
            np.maximum(self.best, self.similarity.rows(np.array([pick]))[0], out=self.best)
            self.exact[:] = False

    def _evaluate(self, indices: Indices) -> None:
        self.bounds[indices] = gains(self.similarity, indices, self.best)
        self.exact[indices] = True

    def _expected_pairs(self) -> int:
        """Estimate how many pairs still matter."""
        if self._rows is None:
            return len(self.best) ** 2
        count = np.count_nonzero((self._rows > self.best[self._sample, None]) | (self._rows > self.best))
        return int(count / self._rows.size * len(self.best) ** 2)


def _top(indices: Indices, bounds: NDArray[np.float64], count: int) -> Indices:
    if len(indices) <= count:
        return indices
    return indices[np.argpartition(bounds[indices], -count)[-count:]]
