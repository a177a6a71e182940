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
_ROW_MEMORY = 32_000_000  # bytes of single rows that are remembered


class Similarity(Protocol):
    """N images to be compared."""

    window: float  # changes, as a share of N, up to which `at` is cheaper than `gains`

    def __len__(self) -> int: ...

    def row(self, pick: int, promise: NDArray[np.float64]) -> Floats:
        """One image against all (N,); `promise` (N,) tells which rows are likely to be asked for next."""
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

    def row(self, pick: int, promise: NDArray[np.float64]) -> Floats:
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
    """Every block computed when it is needed: memory for a block and for some single rows."""

    window = 0.25

    def __init__(self, features: Floats, kernel: Kernel) -> None:
        self.features = features
        self.kernel = kernel
        self._rows: dict[int, Floats] = {}

    def __len__(self) -> int:
        return len(self.features)

    def row(self, pick: int, promise: NDArray[np.float64]) -> Floats:
        """One image against all (N,)."""
        # Reading all features costs as much as comparing sixteen rows with them: take the likeliest next ones along.
        if pick not in self._rows:
            if len(self._rows) > _ROW_MEMORY // (4 * len(self)):
                self._rows.clear()
            count = min(15, len(self))
            wanted = np.append(np.argpartition(promise, -count)[-count:], pick)
            self._rows.update(zip(wanted.tolist(), self.kernel(products(self.features[wanted], self.features))))
        return self._rows[pick]

    def at(self, rows: Places, points: Places) -> Floats:
        """Some images against some (R, P)."""
        return self.kernel(products(self.features[rows], self.features[points]))

    def gains(self, rows: Places, best: Floats) -> NDArray[np.float64]:
        """What each row would add (R,)."""
        own, found = self.features[rows], np.zeros(len(rows))
        for part in slices(len(self), _COLUMNS):
            found += _above(self.kernel(products(own, self.features[part])), best[part]).sum(1, dtype=np.float64)
        return found

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
