"""k-center: no image is far from all selected ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.algorithms.greedy import greedy
from shoestring.selection.algorithms.lazy import LazyScores
from shoestring.selection.algorithms.similarity import Floats, dot_with
from shoestring.selection.algorithms.ties import random_argmax, random_argsort
from shoestring.selection.pool import NO_INDICES, Pool


def k_center(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NO_INDICES,
    outliers: float = 0.0,
) -> NDArray[np.int64]:
    """k-center, farthest point first (Gonzalez 1985; core-set, Sener and Savarese 2018).

    The first image is the one nearest to the mean, if none is in `already`; each next one is the farthest from all
    selected. The fraction `outliers` of the images, those with the greatest mean squared distance to all others, is
    selected last. O(N) memory. Raises `UserError` for a fraction outside 0 to 1.
    """
    check_range(outliers, "k_center's outliers", ge=0, lt=1)
    features = pool.features
    # for unit vectors the mean squared distance to all images is 2 minus twice this
    to_mean = dot_with(features, features.mean(0))
    inlier = np.ones(len(features), dtype=bool)
    inlier[random_argsort(to_mean, rng)[: int(outliers * len(features))]] = False
    first = not len(already)
    distance = LazyScores(features, np.ones(len(features), dtype=np.float32), _update_distance)

    def best(free: NDArray[np.bool_]) -> int:
        mask = free & inlier if (free & inlier).any() else free
        return random_argmax(to_mean, rng, mask) if first else distance.best(mask, rng)

    def add(pick: int) -> None:
        nonlocal first
        first = False
        distance.add(pick)

    return greedy(len(features), size, best, add, already=already)


def _update_distance(scores: NDArray[np.floating], cosines: Floats) -> NDArray[np.floating]:
    """The negated highest cosine with a selected image, which only falls."""
    return np.minimum(scores, -cosines.max(1))
