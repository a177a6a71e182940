"""TypiClust: the most typical image of each cluster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.algorithms.clusters import kmeans, round_robin
from shoestring.selection.algorithms.similarity import Floats, inner_products, slices
from shoestring.selection.pool import NO_INDICES, Pool


def typiclust(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NO_INDICES,
    neighbors: int = 20,
) -> NDArray[np.int64]:
    """From each of `size` k-means clusters the image in the densest neighborhood (TypiClust, Hacohen et al. 2022).

    Density is measured by the mean distance to the nearest `neighbors` in the same cluster. Large clusters come first;
    there is one cluster per image to select, without a limit. Images in `already` add as many clusters, and clusters
    that contain such images come last. Raises `UserError` for fewer than one neighbor.
    """
    check_range(neighbors, "typiclust's neighbors", ge=1)
    features = pool.features
    labels, _ = kmeans(features, len(already) + size, rng)
    distances = np.empty(len(features))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        distances[rows] = mean_distance(features[rows], neighbors)
    distances[already] = -np.inf  # the first of their clusters, and then skipped
    order = round_robin(labels, distances, rng)
    return order[~np.isin(order, already)][:size]


def mean_distance(features: Floats, neighbors: int) -> NDArray[np.float64]:
    """Mean distance (N,) of each image to its nearest `neighbors`, or to all others if there are fewer."""
    count = min(neighbors, len(features) - 1)
    result = np.zeros(len(features))
    for rows in slices(len(features) if count else 0, 256):
        cosines = inner_products(features[rows], features)
        np.fill_diagonal(cosines[:, rows], -np.inf)  # not its own neighbor
        nearest = np.partition(cosines, len(features) - count, axis=1)[:, len(features) - count :]
        result[rows] = np.sqrt(np.maximum(2 - 2 * nearest, 0)).mean(1)
    return result
