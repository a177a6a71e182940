"""CRAIG: images whose gradients stand for the gradients of all."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from shoestring.selection.algorithms.coverage import cover
from shoestring.selection.algorithms.similarity import Floats, Places, gains
from shoestring.selection.pool import NOTHING, Pool

_FARTHEST = 2 * math.sqrt(2)  # no two vectors of probabilities less a label are farther from each other


def craig(
    pool: Pool, size: int, *, rng: np.random.Generator, already: NDArray[np.int64] = NOTHING
) -> NDArray[np.int64]:
    """Images such that every image has one with nearly the same gradient (CRAIG, Mirzasoleiman et al. 2020).

    Greedy facility location: each next image lowers most the sum over all images of the distance from their gradient
    to that of the nearest chosen one. As its authors do for networks, the gradient with respect to the logits stands
    for that of all weights: the probabilities of the trained proxy less the label. Where classes are balanced, images
    are compared within their class. O(N^2 C) for C classes, without a table of distances.
    """
    gradients = pool.probabilities.astype(np.float64)
    gradients[np.arange(len(pool)), pool.labels] -= 1
    return cover(Nearness(gradients), size, rng=rng, already=already)


class Nearness:
    """A similarity of vectors (N, C): how much nearer two are than the farthest can be.

    Any constant that no distance exceeds gives the same ranking: it adds to the first choice of every point only.
    Distances are taken of the differences in float64, so that equal images are at distance zero.
    """

    room = 14_000_000

    def __init__(self, vectors: NDArray[np.float64]) -> None:
        self.vectors = vectors

    def __len__(self) -> int:
        return len(self.vectors)

    def rows(self, places: Places | slice) -> Floats:
        """Some images against all (R, N)."""
        return (_FARTHEST - cdist(self.vectors[places], self.vectors)).astype(np.float32)

    def all_gains(self, best: Floats) -> NDArray[np.float64]:
        """What every image would add (N,)."""
        return gains(self, np.arange(len(self)), best)
