"""How alike images are, computed where it is asked for: a table of all pairs is kept only up to a fixed size.

Both kinds answer the same questions; places are those in the pool. What an image would add to the best similarities so
far is the sum over all images of max(0, similarity - best): products in float32, sums in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Places = NDArray[np.int64]
Kernel = Callable[[Floats], Floats]  # cosines of any shape become similarities of the same shape, in their place

_KEPT = 104_000_000  # bytes of the largest table that is kept: 5,100 images
_ROWS, _COLUMNS = 512, 2048  # of the blocks that are computed at once
_CELLS = 2_000_000  # numbers of whole rows that are looked at together


class Similarity(Protocol):
    """N images to be compared."""

    room: int  # pairs that may be listed beside what is held already

    def __len__(self) -> int: ...

    def rows(self, places: Places | slice) -> Floats:
        """Some images against all (R, N)."""
        ...

    def all_gains(self, best: Floats) -> NDArray[np.float64]:
        """What every image would add (N,), cheaper than row after row."""
        ...


def similarity(features: Floats, kernel: Kernel | None = None) -> Similarity:
    """The similarities of unit-length features (N, D): their cosines, or what the kernel makes of the cosines."""
    kind = Kept if 4 * len(features) ** 2 <= _KEPT else Computed
    return kind(features, kernel)


def slices(count: int, step: int, start: int = 0) -> Iterator[slice]:
    """Consecutive slices of at most `step` from `start` to `count`."""
    for first in range(start, count, step):
        yield slice(first, min(first + step, count))


def products(left: Floats, right: Floats) -> Floats:
    """left @ right.T, of features (A, D) with features (B, D) or with a vector (D,).

    Not by `@`: that trusts error flags which BLAS sometimes leaves set, and then warns although all numbers are valid.
    """
    return np.dot(left, right.T)


def along(features: Floats, vector: NDArray[np.floating]) -> Floats:
    """The product of each image (N, D) with one vector (D,), in float32: (N,).

    Not by BLAS, which takes twice as long for rows this short; and equal images get equal numbers wherever they stand.
    """
    return np.einsum("nd,d->n", features, vector.astype(np.float32, copy=False))


def gains(similarity: Similarity, places: Places, best: Floats) -> NDArray[np.float64]:
    """What each of these images would add (R,)."""
    found = np.empty(len(places))
    for part in slices(len(places), at_once(similarity)):
        found[part] = _gained(similarity.rows(places[part]), best, 1)
    return found


def at_once(similarity: Similarity) -> int:
    """Rows that are looked at together."""
    return max(1, _CELLS // len(similarity))


class Kept:
    """Every pair once computed and kept: 4 N^2 bytes."""

    room = 1_500_000

    def __init__(self, features: Floats, kernel: Kernel | None) -> None:
        self.sums = _sums(features) if kernel is None and features.min() >= 0 else None
        self.table = products(features, features)  # numpy sees that both are the same and computes one half
        if kernel:
            for part in slices(len(self), _ROWS):
                self.table[part] = kernel(self.table[part])

    def __len__(self) -> int:
        return len(self.table)

    def rows(self, places: Places | slice) -> Floats:
        """Some images against all (R, N)."""
        return self.table[places]

    def all_gains(self, best: Floats) -> NDArray[np.float64]:
        """What every image would add (N,), in parts that stay in the processor's cache."""
        if self.sums is not None and not best.any():
            return self.sums.copy()
        parts = slices(len(self), 64)
        return np.concatenate([_gained(self.table[part], best, 1) for part in parts])


class Computed:
    """Computed when it is needed, and not kept."""

    room = 14_000_000

    def __init__(self, features: Floats, kernel: Kernel | None) -> None:
        self.features = features
        self.kernel = kernel or _as_it_is
        self.none_is_negative = kernel is None and features.min() >= 0

    def __len__(self) -> int:
        return len(self.features)

    def rows(self, places: Places | slice) -> Floats:
        """Some images against all (R, N)."""
        return self.kernel(products(self.features[places], self.features))

    def all_gains(self, best: Floats) -> NDArray[np.float64]:
        """Each block serves its rows as candidates and its columns too, so half of all pairs are computed."""
        if self.none_is_negative and not best.any():
            return _sums(self.features)
        found = np.zeros(len(self))
        for rows in slices(len(self), _ROWS):
            block = self.kernel(products(self.features[rows], self.features[rows]))
            found[rows] += _gained(block, best[rows], 1)
            for columns in slices(len(self), _COLUMNS, start=rows.stop):
                block = self.kernel(products(self.features[rows], self.features[columns]))
                found[rows] += _gained(block, best[columns], 1)
                found[columns] += _gained(block, best[rows, None], 0)
        return found


def _sums(features: Floats) -> NDArray[np.float64]:
    """The sum of all cosines of each image (N,): one product with the sum of all images."""
    total = features.sum(0, dtype=np.float64)
    parts = slices(len(features), _COLUMNS)
    return np.concatenate([np.einsum("nd,d->n", features[part].astype(np.float64), total) for part in parts])


def _gained(block: Floats, best: Floats, axis: int) -> NDArray[np.float64]:
    """The sum along one axis of max(0, block - best)."""
    return np.maximum(block, best).sum(axis, dtype=np.float64) - best.sum(dtype=np.float64)


def _as_it_is(cosines: Floats) -> Floats:
    return cosines
