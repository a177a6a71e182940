"""The pairs of images that can still add something, listed; with them every gain is exact at each step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.similarity import Floats, Places, Similarity, at_once, slices

_TOGETHER = 100_000  # entries that are looked at together


class Pairs:
    """For each image i a list of candidates j and how alike they are: entries starts[i] to starts[i + 1] of the lists.

    `best` (N,) is the highest similarity of each image to a chosen one, `gains` (N,) what each candidate adds.
    """

    def __init__(
        self, starts: Places, places: NDArray[np.integer], values: Floats, best: Floats, gains: NDArray[np.float64]
    ) -> None:
        self.starts, self.places, self.values = starts, places, values
        self.best, self.gains = best, gains

    def row(self, pick: int) -> tuple[Places, Floats]:
        """The list of one image: places and values."""
        own = slice(self.starts[pick], self.starts[pick + 1])
        return self.places[own].astype(np.int64), self.values[own]

    def add(self, points: Places, new: Floats) -> None:
        """Choose an image that is so alike (P,) to these points (P,); the others lose what those gained."""
        nearer = new > self.best[points]
        points, new = points[nearer], new[nearer]
        first, each = self.starts[points], self.starts[points + 1] - self.starts[points]
        for part in slices(len(points), _TOGETHER // int(each.max(initial=1)) + 1):
            self._lose(first[part], each[part], self.best[points[part]], new[part])
        self.best[points] = new

    def _lose(self, first: Places, each: Places, old: Floats, new: Floats) -> None:
        """Lists that begin at these entries and are so long (P,), of points whose best goes from old to new (P,)."""
        entries = np.arange(each.sum()) + np.repeat(first - np.cumsum(each) + each, each)
        before = np.repeat(old, each)
        lost = np.clip(self.values[entries], before, np.repeat(new, each)).astype(np.float64) - before
        self.gains -= np.bincount(self.places[entries], weights=lost, minlength=len(self.gains))


def pairs_above(similarity: Similarity, best: Floats, expected: int) -> Pairs:
    """The pairs that are more alike than the best similarity (N,) of one of the two: about so many."""
    count = len(similarity)
    places = np.empty(expected, dtype=np.min_scalar_type(count))
    values = np.empty(expected, dtype=np.float32)
    each, gains, filled = np.empty(count, dtype=np.int64), np.empty(count), 0
    for rows in slices(count, at_once(similarity)):
        block = similarity.rows(rows)
        row, column = np.divmod(np.flatnonzero((block > best[rows, None]) | (block > best)), count)
        if (end := filled + len(row)) > len(places):  # in place: other arrays would be held beside these
            places.resize(end * 5 // 4, refcheck=False)
            values.resize(end * 5 // 4, refcheck=False)
        places[filled:end] = column
        values[filled:end] = alike = block[row, column]
        each[rows] = np.bincount(row, minlength=len(block))
        gains[rows] = np.bincount(row, weights=np.maximum(alike - best[column], 0), minlength=len(block))
        filled = end
    starts = np.concatenate([[0], np.cumsum(each)])
    return Pairs(starts, places[:filled], values[:filled], best, gains)
