"""CRAIG: images whose gradients represent those of all images."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from shoestring.selection.algorithms.coverage import greedy_coverage
from shoestring.selection.algorithms.similarity import Floats, Indices, gains
from shoestring.selection.pool import NO_INDICES, Pool

_MAX_DISTANCE = 2 * math.sqrt(2)  # upper bound of the distance of two vectors of probabilities minus one-hot label


def craig(
    pool: Pool, size: int, *, rng: np.random.Generator, already: NDArray[np.int64] = NO_INDICES
) -> NDArray[np.int64]:
    """Facility location on gradients instead of features (CRAIG, Mirzasoleiman et al. 2020).

    Greedy: each step takes the image that most reduces the sum over all images of the distance from their gradient to
    the nearest selected one. As in the paper, the gradient with respect to the logits is used in place of that of all
    weights: the probabilities of the trained proxy minus the one-hot label. If classes are balanced, images are
    compared within their class. O(N^2 C) time for C classes, without a distance matrix.
    """
    gradients = pool.probabilities.astype(np.float64)
    gradients[np.arange(len(pool)), pool.labels] -= 1
    return greedy_coverage(GradientSimilarity(gradients), size, rng=rng, already=already)


class GradientSimilarity:
    """Similarity of vectors (N, C): an upper bound of all distances minus their Euclidean distance.

    Any upper bound gives the same ranking, since it only adds to the first gain of every image. Distances are computed
    from differences in float64, so that equal images have distance zero.
    """

    max_pairs = 14_000_000

    def __init__(self, vectors: NDArray[np.float64]) -> None:
        self.vectors = vectors

    def __len__(self) -> int:
        return len(self.vectors)

    def rows(self, indices: Indices | slice) -> Floats:
        """Return the similarities of some images to all images (R, N)."""
        return (_MAX_DISTANCE - cdist(self.vectors[indices], self.vectors)).astype(np.float32)

    def all_gains(self, best: Floats) -> NDArray[np.float64]:
        """Return the gain of every image (N,)."""
        return gains(self, np.arange(len(self)), best)
