"""Exact k nearest neighbors without a matrix of all pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.gpu import GpuSimilarity, gpu_pays_off
from shoestring.selection.algorithms.similarity import Floats, Indices, inner_products, slices

_ROWS, _COLUMNS = 512, 4096  # block size
_SAMPLE = 2048  # images from which a lower bound of the k-th highest cosine is computed


def nearest_neighbors(features: Floats, count: int, device: str = "cpu") -> tuple[NDArray[np.int32], Floats]:
    """The `count` nearest images of each, itself among them: indices and cosines (N, count), unordered.

    Every pair is compared once and kept if it is nearer than the `count` nearest found so far for one of the two. On a
    GPU all pairs are compared twice, with a top-k over whole rows.
    """
    if gpu_pays_off(device, features):
        return GpuSimilarity(features, device).nearest(count)
    total = len(features)
    top = _TopK(total, count, _lower_bound(features, count))
    for rows in slices(total, _ROWS):
        block = inner_products(features[rows], features[rows])
        top.offer(block, rows, rows)
        for columns in slices(total, _COLUMNS, start=rows.stop):
            block = inner_products(features[rows], features[columns])
            top.offer(block, rows, columns)
            top.offer(block.T, columns, rows)
    return top.result()


def nearest_among(points: Floats, features: Floats, count: int) -> tuple[NDArray[np.int32], Floats]:
    """The `count` images of (N, D) nearest to each of (P, D): indices and cosines (P, count), unordered."""
    indices = np.empty((len(points), count), dtype=np.int32)
    cosines = np.empty((len(points), count), dtype=np.float32)
    for rows in slices(len(points), max(1, _ROWS * _COLUMNS // len(features))):
        block = inner_products(points[rows], features)
        indices[rows] = np.argpartition(block, len(features) - count, axis=1)[:, len(features) - count :]
        cosines[rows] = np.take_along_axis(block, indices[rows], 1)
    return indices, cosines


def _lower_bound(features: Floats, count: int) -> Floats:
    """A cosine (N,) that at least `count` images exceed: the count-th highest to a sample of the images."""
    sample = features[:: max(1, len(features) // max(_SAMPLE, 4 * count))]
    if len(sample) == len(features):
        return np.full(len(features), -np.inf, dtype=np.float32)
    kth = len(sample) - count
    bound = np.empty(len(features), dtype=np.float32)
    for rows in slices(len(features), _ROWS):
        bound[rows] = np.partition(inner_products(features[rows], sample), kth, axis=1)[:, kth]
    return bound - np.float32(1e-6)  # rounding differs between blocks


class _TopK:
    """The `count` nearest images of each so far, in buffers of twice that size."""

    def __init__(self, total: int, count: int, threshold: Floats) -> None:
        self.count = count
        self.threshold = threshold  # cosines that pairs must exceed (N,)
        self.filled = np.zeros(total, dtype=np.int64)
        self.indices = np.zeros((total, 2 * count), dtype=np.int32)
        self.cosines = np.full((total, 2 * count), -np.inf, dtype=np.float32)

    def offer(self, block: Floats, rows: slice, columns: slice) -> None:
        """Add the cosines (R, C) of these rows with these columns."""
        if block.flags.c_contiguous:
            row, column = np.nonzero(block > self.threshold[rows, None])
        else:
            transposed = block.T  # searched in memory order
            column, row = np.nonzero(transposed > self.threshold[rows])
            order = np.argsort(row.astype(np.int16), kind="stable")  # NumPy sorts short integers fastest
            row, column = row[order], column[order]
        cosines = block[row, column]
        self._insert(row + rows.start, column + columns.start, cosines)

    def _insert(self, rows: Indices, indices: Indices, cosines: Floats) -> None:
        """Insert pairs sorted by row; full buffers are reduced to their nearest first."""
        while len(rows):
            first = np.flatnonzero(np.diff(rows, prepend=-1))
            lengths = np.diff(first, append=len(rows))
            slot = self.filled[rows] + np.arange(len(rows)) - np.repeat(first, lengths)
            fits = slot < self.indices.shape[1]
            self.indices[rows[fits], slot[fits]] = indices[fits]
            self.cosines[rows[fits], slot[fits]] = cosines[fits]
            self.filled[rows[first]] = np.minimum(self.filled[rows[first]] + lengths, self.indices.shape[1])
            rows, indices, cosines = rows[~fits], indices[~fits], cosines[~fits]
            self._reduce(np.unique(rows))
            nearer = cosines > self.threshold[rows]
            rows, indices, cosines = rows[nearer], indices[nearer], cosines[nearer]

    def _reduce(self, rows: Indices) -> None:
        """Keep the `count` nearest of these rows."""
        order = np.argpartition(-self.cosines[rows], self.count - 1, axis=1)[:, : self.count]
        self.indices[rows, : self.count] = np.take_along_axis(self.indices[rows], order, 1)
        self.cosines[rows, : self.count] = np.take_along_axis(self.cosines[rows], order, 1)
        self.cosines[rows, self.count :] = -np.inf
        self.filled[rows] = self.count
        self.threshold[rows] = self.cosines[rows, : self.count].min(1)

    def result(self) -> tuple[NDArray[np.int32], Floats]:
        """Return indices and cosines of the nearest of every image (N, count)."""
        for part in slices(len(self.indices), 4096):
            self._reduce(np.arange(part.start, part.stop))
        return self.indices[:, : self.count].copy(), self.cosines[:, : self.count].copy()  # frees the buffers
