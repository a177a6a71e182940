"""A list of the pairs of images that can still add to coverage; with it every gain is exact at each step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.similarity import Floats, Indices, Similarity, rows_per_block, slices

_MAX_ENTRIES = 100_000  # entries processed at once


class PairList:
    """For each image i, its candidates j and their similarities, in CSR form: entries starts[i] to starts[i + 1].

    `best` (N,) is the highest similarity of each image to a selected one, `gains` (N,) the gain of each candidate.
    """

    def __init__(
        self, starts: Indices, indices: NDArray[np.integer], values: Floats, best: Floats, gains: NDArray[np.float64]
    ) -> None:
        self.starts, self.indices, self.values = starts, indices, values
        self.best, self.gains = best, gains

    def row(self, image: int) -> tuple[Indices, Floats]:
        """Return the candidates of one image and their similarities."""
        entries = slice(self.starts[image], self.starts[image + 1])
        return self.indices[entries].astype(np.int64), self.values[entries]

    def add(self, points: Indices, similarities: Floats) -> None:
        """Select an image with these similarities (P,) to these points (P,), and lower the gains of the others."""
        higher = similarities > self.best[points]
        points, new = points[higher], similarities[higher]
        first, lengths = self.starts[points], self.starts[points + 1] - self.starts[points]
        for part in slices(len(points), _MAX_ENTRIES // int(lengths.max(initial=1)) + 1):
            self._reduce_gains(first[part], lengths[part], self.best[points[part]], new[part])
        self.best[points] = new

    def _reduce_gains(self, first: Indices, lengths: Indices, old: Floats, new: Floats) -> None:
        """Update gains for rows that start at `first` with these lengths (P,), whose best goes from old to new (P,)."""
        entries = np.arange(lengths.sum()) + np.repeat(first - np.cumsum(lengths) + lengths, lengths)
        before = np.repeat(old, lengths)
        lost = np.clip(self.values[entries], before, np.repeat(new, lengths)).astype(np.float64) - before
        self.gains -= np.bincount(self.indices[entries], weights=lost, minlength=len(self.gains))


def list_pairs(similarity: Similarity, best: Floats, expected: int) -> PairList:
    """List the pairs that are more similar than the best similarity (N,) of one of the two: about `expected`."""
    count = len(similarity)
    indices = np.empty(expected, dtype=np.min_scalar_type(count))
    values = np.empty(expected, dtype=np.float32)
    lengths, gains, filled = np.empty(count, dtype=np.int64), np.empty(count), 0
    for rows in slices(count, rows_per_block(similarity)):
        block = similarity.rows(rows)
        row, column = np.divmod(np.flatnonzero((block > best[rows, None]) | (block > best)), count)
        if (end := filled + len(row)) > len(indices):  # in place: copies would need more memory
            indices.resize(end * 5 // 4, refcheck=False)
            values.resize(end * 5 // 4, refcheck=False)
        indices[filled:end] = column
        values[filled:end] = found = block[row, column]
        lengths[rows] = np.bincount(row, minlength=len(block))
        gains[rows] = np.bincount(row, weights=np.maximum(found - best[column], 0), minlength=len(block))
        filled = end
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return PairList(starts, indices[:filled], values[:filled], best, gains)
