"""TypiClust: the most typical image of each cluster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.algorithms.clusters import clusters, in_turn
from shoestring.selection.algorithms.similarity import Floats, products, slices
from shoestring.selection.pool import NOTHING, Pool


def typiclust(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NOTHING,
    neighbours: int = 20,
) -> NDArray[np.int64]:
    """Of each of `size` k-means clusters the image with the densest neighbourhood (TypiClust, Hacohen et al. 2022).

    Typical is a small mean distance to the nearest `neighbours` of the same cluster. Large clusters come first; there
    is a cluster for every image to be chosen, however many. With images chosen `already` there are as many clusters
    more, and those that hold such images are passed over at first. Raises `UserError` for less than one neighbour.
    """
    check_range(neighbours, "typiclust's neighbours", ge=1)
    features = pool.features
    labels, _ = clusters(features, len(already) + size, rng)
    distances = np.empty(len(features))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        distances[rows] = mean_distance(features[rows], neighbours)
    distances[already] = -np.inf  # the first of their clusters, and then left out
    order = in_turn(labels, distances, rng)
    return order[~np.isin(order, already)][:size]


def mean_distance(features: Floats, neighbours: int) -> NDArray[np.float64]:
    """The mean distance (N,) of each image to the nearest others of these, to all where there are fewer."""
    count = min(neighbours, len(features) - 1)
    found = np.zeros(len(features))
    for rows in slices(len(features) if count else 0, 256):
        cosines = products(features[rows], features)
        np.fill_diagonal(cosines[:, rows], -np.inf)  # not its own neighbour
        nearest = np.partition(cosines, len(features) - count, axis=1)[:, len(features) - count :]
        found[rows] = np.sqrt(np.maximum(2 - 2 * nearest, 0)).mean(1)
    return found
