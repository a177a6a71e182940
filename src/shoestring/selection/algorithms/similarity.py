"""Pairwise similarities of images, dense up to a fixed size and computed in blocks above it.

The gain of an image is what selecting it adds to the best similarities so far: the sum over all images of
max(0, similarity - best). Products are in float32, sums in float64. Indices are those of the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]
Kernel = Callable[[Floats], Floats]  # maps cosines of any shape to similarities of the same shape, in place

_MAX_DENSE_BYTES = 104_000_000  # of a dense matrix: 5,100 images
_ROWS, _COLUMNS = 512, 2048  # block size
_MAX_CELLS = 2_000_000  # entries of whole rows processed at once


class Similarity(Protocol):
    """Pairwise similarities of N images."""

    max_pairs: int  # pairs that may be listed in addition to what is in memory already

    def __len__(self) -> int: ...

    def rows(self, indices: Indices | slice) -> Floats:
        """Return the similarities of some images to all images (R, N)."""
        ...

    def all_gains(self, best: Floats) -> NDArray[np.float64]:
        """Return the gain of every image (N,), more cheaply than row by row."""
        ...


def similarity(features: Floats, kernel: Kernel | None = None) -> Similarity:
    """Similarities of unit-length features (N, D): their cosines, or the kernel of the cosines."""
    dense = 4 * len(features) ** 2 <= _MAX_DENSE_BYTES
    return (DenseSimilarity if dense else BlockSimilarity)(features, kernel)


def slices(count: int, step: int, start: int = 0) -> Iterator[slice]:
    """Yield consecutive slices of at most `step` from `start` to `count`."""
    for first in range(start, count, step):
        yield slice(first, min(first + step, count))


def inner_products(left: Floats, right: Floats) -> Floats:
    """left @ right.T of features (A, D) with features (B, D) or a vector (D,).

    Not computed with `@`, which trusts error flags that BLAS sometimes leaves set and then warns about valid numbers.
    """
    return np.dot(left, right.T)


def dot_with(features: Floats, vector: NDArray[np.floating]) -> Floats:
    """Inner product of each row of `features` (N, D) with one vector (D,), in float32: (N,).

    Not computed with BLAS, which takes twice as long for rows this short. Equal rows get equal results at any index.
    """
    return np.einsum("nd,d->n", features, vector.astype(np.float32, copy=False))


def gains(similarity: Similarity, indices: Indices, best: Floats) -> NDArray[np.float64]:
    """Gain of each of these images (R,)."""
    result = np.empty(len(indices))
    for part in slices(len(indices), rows_per_block(similarity)):
        result[part] = _summed_gains(similarity.rows(indices[part]), best, 1)
    return result


def rows_per_block(similarity: Similarity) -> int:
    """Number of rows to process at once."""
    return max(1, _MAX_CELLS // len(similarity))


class DenseSimilarity:
    """All pairs in one matrix: 4 N^2 bytes."""

    max_pairs = 1_500_000

    def __init__(self, features: Floats, kernel: Kernel | None) -> None:
        self.sums = _sums(features) if kernel is None and features.min() >= 0 else None
        self.matrix = inner_products(features, features)  # NumPy computes one half only when both are the same array
        if kernel:
            for part in slices(len(self), _ROWS):
                self.matrix[part] = kernel(self.matrix[part])

    def __len__(self) -> int:
        return len(self.matrix)

    def rows(self, indices: Indices | slice) -> Floats:
        """Return the similarities of some images to all images (R, N)."""
        return self.matrix[indices]

    def all_gains(self, best: Floats) -> NDArray[np.float64]:
        """Return the gain of every image (N,), in blocks that fit the processor's cache."""
        if self.sums is not None and not best.any():
            return self.sums.copy()
        parts = slices(len(self), 64)
        return np.concatenate([_summed_gains(self.matrix[part], best, 1) for part in parts])


class BlockSimilarity:
    """Similarities that are computed in blocks when needed and not kept."""

    max_pairs = 14_000_000

    def __init__(self, features: Floats, kernel: Kernel | None) -> None:
        self.features = features
        self.kernel = kernel or _identity
        self.nonnegative = kernel is None and features.min() >= 0

    def __len__(self) -> int:
        return len(self.features)

    def rows(self, indices: Indices | slice) -> Floats:
        """Return the similarities of some images to all images (R, N)."""
        return self.kernel(inner_products(self.features[indices], self.features))

    def all_gains(self, best: Floats) -> NDArray[np.float64]:
        """Return the gain of every image (N,). Each block serves its rows and its columns: half of the pairs."""
        if self.nonnegative and not best.any():
            return _sums(self.features)
        result = np.zeros(len(self))
        for rows in slices(len(self), _ROWS):
            block = self.kernel(inner_products(self.features[rows], self.features[rows]))
            result[rows] += _summed_gains(block, best[rows], 1)
            for columns in slices(len(self), _COLUMNS, start=rows.stop):
                block = self.kernel(inner_products(self.features[rows], self.features[columns]))
                result[rows] += _summed_gains(block, best[columns], 1)
                result[columns] += _summed_gains(block, best[rows, None], 0)
        return result


def _sums(features: Floats) -> NDArray[np.float64]:
    """Sum of all cosines of each image (N,): its product with the sum of all features."""
    total = features.sum(0, dtype=np.float64)
    parts = slices(len(features), _COLUMNS)
    return np.concatenate([np.einsum("nd,d->n", features[part].astype(np.float64), total) for part in parts])


def _summed_gains(block: Floats, best: Floats, axis: int) -> NDArray[np.float64]:
    """Sum along one axis of max(0, block - best)."""
    return np.maximum(block, best).sum(axis, dtype=np.float64) - best.sum(dtype=np.float64)


def _identity(cosines: Floats) -> Floats:
    return cosines
