"""How alike images are, computed where it is asked for: a table of all pairs is kept only up to a fixed size.

Both kinds answer the same questions; rows and points are places in the pool. What a row would add to the best
similarities so far is the sum over all points of max(0, similarity - best): products in float32, sums in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Places = NDArray[np.int64]
Kernel = Callable[[Floats], Floats]  # cosines of any shape become similarities of the same shape

_KEPT = 104_000_000  # bytes of the largest table that is kept: 5,100 images
_ROWS, _COLUMNS = 512, 2048  # of the blocks that are computed at once
_ROW_MEMORY = 100_000_000  # bytes of single rows that are kept
_LEAST_HELD, _TOGETHER = 128, 64  # rows that there is always room for, and rows that are computed at once


class Similarity(Protocol):
    """N images to be compared."""

    window: float  # changes, as a share of N, up to which `at` is cheaper than `gains`

    def __len__(self) -> int: ...

    def row(self, pick: int) -> Floats:
        """One image against all (N,)."""
        ...

    def at(self, rows: Places, points: Places) -> Floats:
        """Some images against some (R, P)."""
        ...

    def gains(self, rows: Places, best: Floats) -> NDArray[np.float64]:
        """What each row would add (R,)."""
        ...

    def all_gains(self, best: Floats) -> NDArray[np.float64]:
        """What every image would add (N,), cheaper than row after row."""
        ...


def similarity(features: Floats, kernel: Kernel | None = None) -> Similarity:
    """The similarities of unit-length features (N, D): their cosines, or what the kernel makes of the cosines."""
    kind = Kept if 4 * len(features) ** 2 <= _KEPT else Computed
    return kind(features, kernel or _as_it_is)


def slices(count: int, step: int, start: int = 0) -> Iterator[slice]:
    """Consecutive slices of at most `step` from `start` to `count`."""
    for first in range(start, count, step):
        yield slice(first, min(first + step, count))


def products(left: Floats, right: Floats) -> Floats:
    """left @ right.T, of features (A, D) with features (B, D) or with a vector (D,).

    Not by `@`: that trusts error flags which BLAS sometimes leaves set, and then warns although all numbers are valid.
    """
    return np.dot(left, right.T)


class Kept:
    """Every pair once computed and kept: 4 N^2 bytes."""

    window = 0.125

    def __init__(self, features: Floats, kernel: Kernel) -> None:
        count = len(features)
        self.table = np.empty((count, count), dtype=np.float32)
        for rows in slices(count, _ROWS):
            block = kernel(products(features[rows], features[rows.start :]))
            self.table[rows, rows.start :] = block
            self.table[rows.stop :, rows] = block[:, len(block) :].T

    def __len__(self) -> int:
        return len(self.table)

    def row(self, pick: int) -> Floats:
        """One image against all (N,)."""
        return self.table[pick]

    def at(self, rows: Places, points: Places) -> Floats:
        """Some images against some (R, P)."""
        return self.table[rows[:, None], points]

    def gains(self, rows: Places, best: Floats) -> NDArray[np.float64]:
        """What each row would add (R,)."""
        return _above(self.table[rows], best).sum(1, dtype=np.float64)

    def all_gains(self, best: Floats) -> NDArray[np.float64]:
        """What every image would add (N,), in parts that stay in the processor's cache."""
        parts = slices(len(self), 64)
        return np.concatenate([_above(self.table[part], best).sum(1, dtype=np.float64) for part in parts])


class Computed:
    """Computed when it is needed. Rows that were looked at for as many products as they have are kept, the last ones
    in a fixed room: those that lead are looked at again and again."""

    window = 0.25

    def __init__(self, features: Floats, kernel: Kernel) -> None:
        count = len(features)
        self.features = features
        self.kernel = kernel
        room = min(count, max(_LEAST_HELD, _ROW_MEMORY // (4 * count)))
        self._held = np.empty((room, count), dtype=np.float32)
        self._holds = np.full(room, -1)  # the row at each place
        self._place = np.full(count, -1)  # the place of each row
        self._used = np.zeros(room, dtype=np.int64)
        self._spent = np.zeros(count, dtype=np.int64)
        self._clock = 0

    def __len__(self) -> int:
        return len(self.features)

    def row(self, pick: int) -> Floats:
        """One image against all (N,)."""
        return self._held[self._places(np.array([pick]))[0]]

    def at(self, rows: Places, points: Places) -> Floats:
        """Some images against some (R, P)."""
        found = np.empty((len(rows), len(points)), dtype=np.float32)
        self._spent[rows] += len(points)
        worth = (self._place[rows] >= 0) | (self._spent[rows] > len(self))
        few = np.flatnonzero(~worth)
        if len(few):
            found[few] = self.kernel(products(self.features[rows[few]], self.features[points]))
        for part in self._in_parts(np.flatnonzero(worth)):
            found[part] = self._held[self._places(rows[part])[:, None], points]
        return found

    def gains(self, rows: Places, best: Floats) -> NDArray[np.float64]:
        """What each row would add (R,)."""
        found = np.empty(len(rows))
        for part in self._in_parts(np.arange(len(rows))):
            found[part] = _above(self._held[self._places(rows[part])], best).sum(1, dtype=np.float64)
        return found

    def _in_parts(self, places: Places) -> Iterator[Places]:
        """Parts for which there is room."""
        return (places[part] for part in slices(len(places), _TOGETHER))

    def _places(self, rows: Places) -> Places:
        """Where these rows are held, computed where they were not; those not used for longest make way."""
        self._clock += 1
        places = self._place[rows]
        self._used[places[places >= 0]] = self._clock
        missing = rows[places < 0]
        if len(missing):
            free = np.argpartition(self._used, len(missing) - 1)[: len(missing)]
            gone = self._holds[free]
            self._place[gone[gone >= 0]] = -1
            self._held[free] = self.kernel(products(self.features[missing], self.features))
            self._holds[free], self._place[missing], self._used[free] = missing, free, self._clock
        return self._place[rows]

    def all_gains(self, best: Floats) -> NDArray[np.float64]:
        """Each block serves its rows as candidates and its columns too, so half of all pairs are computed."""
        found = np.zeros(len(self))
        for rows in slices(len(self), _ROWS):
            found[rows] += self._inside(rows, best)
            for columns in slices(len(self), _COLUMNS, start=rows.stop):
                block = self.kernel(products(self.features[rows], self.features[columns]))
                found[rows] += _above(block, best[columns]).sum(1, dtype=np.float64)
                found[columns] += _above(block, best[rows, None]).sum(0, dtype=np.float64)
        return found

    def _inside(self, rows: slice, best: Floats) -> NDArray[np.float64]:
        """What each of these images would add to these images (R,)."""
        block = self.kernel(products(self.features[rows], self.features[rows]))
        return _above(block, best[rows]).sum(1, dtype=np.float64)


def _above(block: Floats, best: Floats) -> Floats:
    rest = block - best
    return np.maximum(rest, 0, out=rest)


def _as_it_is(cosines: Floats) -> Floats:
    return cosines
