"""The nearest images of each image, exactly and without a table of all pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.gpu import Accelerated, accelerates
from shoestring.selection.algorithms.similarity import Floats, Places, products, slices

_ROWS, _COLUMNS = 512, 4096  # of the blocks that are computed at once
_SAMPLE = 2048  # images that tell how near the nearest must be at least


def nearest(features: Floats, count: int, device: str = "cpu") -> tuple[NDArray[np.int32], Floats]:
    """The `count` images most like each, itself among them: places (N, count) and cosines (N, count), in no order.

    Every pair is compared once; a pair is kept when it is nearer than the `count` nearest known to one of the two. On
    an accelerator all pairs are compared twice and the nearest of each picked at once.
    """
    if accelerates(device, features):
        return Accelerated(features, device).nearest(count)
    total = len(features)
    held = _Held(total, count, _least(features, count))
    for rows in slices(total, _ROWS):
        block = products(features[rows], features[rows])
        held.offer(block, rows, rows)
        for columns in slices(total, _COLUMNS, start=rows.stop):
            block = products(features[rows], features[columns])
            held.offer(block, rows, columns)
            held.offer(block.T, columns, rows)
    return held.finished()


def nearest_among(points: Floats, features: Floats, count: int) -> tuple[NDArray[np.int32], Floats]:
    """For each of other images (P, D) the `count` most like it: places (P, count) and cosines (P, count), unordered."""
    places = np.empty((len(points), count), dtype=np.int32)
    cosines = np.empty((len(points), count), dtype=np.float32)
    for rows in slices(len(points), max(1, _ROWS * _COLUMNS // len(features))):
        block = products(points[rows], features)
        places[rows] = np.argpartition(block, len(features) - count, axis=1)[:, len(features) - count :]
        cosines[rows] = np.take_along_axis(block, places[rows], 1)
    return places, cosines


def _least(features: Floats, count: int) -> Floats:
    """A cosine (N,) that at least `count` images exceed: the count-th highest with a sample of the images."""
    sample = features[:: max(1, len(features) // max(_SAMPLE, 4 * count))]
    if len(sample) == len(features):
        return np.full(len(features), -np.inf, dtype=np.float32)
    place = len(sample) - count
    least = np.empty(len(features), dtype=np.float32)
    for rows in slices(len(features), _ROWS):
        least[rows] = np.partition(products(features[rows], sample), place, axis=1)[:, place]
    return least - np.float32(1e-6)  # rounding differs between blocks


class _Held:
    """The nearest so far of each image, with room for as many again before they are sorted out."""

    def __init__(self, total: int, count: int, least: Floats) -> None:
        self.count = count
        self.least = least  # what a pair must exceed
        self.filled = np.zeros(total, dtype=np.int64)
        self.places = np.zeros((total, 2 * count), dtype=np.int32)
        self.cosines = np.full((total, 2 * count), -np.inf, dtype=np.float32)

    def offer(self, block: Floats, rows: slice, columns: slice) -> None:
        """Cosines (R, C) of these rows with these columns."""
        if block.flags.c_contiguous:
            own, other = np.nonzero(block > self.least[rows, None])
        else:
            as_it_lies = block.T  # searched in the order of memory
            other, own = np.nonzero(as_it_lies > self.least[rows])
            order = np.argsort(own.astype(np.int16), kind="stable")  # numbers this short are sorted fastest
            own, other = own[order], other[order]
        cosines = block[own, other]
        self._put(own + rows.start, other + columns.start, cosines)

    def _put(self, rows: Places, places: Places, cosines: Floats) -> None:
        """Pairs in the order of their rows; where there is no room the farther ones give way."""
        while len(rows):
            first = np.flatnonzero(np.diff(rows, prepend=-1))
            each = np.diff(first, append=len(rows))
            slot = self.filled[rows] + np.arange(len(rows)) - np.repeat(first, each)
            fits = slot < self.places.shape[1]
            self.places[rows[fits], slot[fits]] = places[fits]
            self.cosines[rows[fits], slot[fits]] = cosines[fits]
            self.filled[rows[first]] = np.minimum(self.filled[rows[first]] + each, self.places.shape[1])
            rows, places, cosines = rows[~fits], places[~fits], cosines[~fits]
            self._sort_out(np.unique(rows))
            nearer = cosines > self.least[rows]
            rows, places, cosines = rows[nearer], places[nearer], cosines[nearer]

    def _sort_out(self, rows: Places) -> None:
        """Keep the `count` nearest of these rows."""
        order = np.argpartition(-self.cosines[rows], self.count - 1, axis=1)[:, : self.count]
        self.places[rows, : self.count] = np.take_along_axis(self.places[rows], order, 1)
        self.cosines[rows, : self.count] = np.take_along_axis(self.cosines[rows], order, 1)
        self.cosines[rows, self.count :] = -np.inf
        self.filled[rows] = self.count
        self.least[rows] = self.cosines[rows, : self.count].min(1)

    def finished(self) -> tuple[NDArray[np.int32], Floats]:
        """The nearest of every image (N, count), and their cosines."""
        for part in slices(len(self.places), 4096):
            self._sort_out(np.arange(part.start, part.stop))
        return self.places[:, : self.count].copy(), self.cosines[:, : self.count].copy()  # the spare room is freed
