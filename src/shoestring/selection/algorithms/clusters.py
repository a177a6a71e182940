"""Clusters of images, and the order in which they give up their images."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.similarity import Floats
from shoestring.selection.algorithms.ties import lowest_first

_ALL_AT_ONCE = 20_000  # images; more are clustered from batches


def clusters(features: Floats, count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """k-means: the cluster of each image (N,), and its distance to the centre of that (N,).

    Some of the `count` clusters are empty where there are fewer different images.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    seed = int(rng.integers(2**31))
    if len(features) > _ALL_AT_ONCE:
        means = MiniBatchKMeans(count, random_state=seed, batch_size=4096)
    else:
        means = KMeans(count, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different images than clusters
        means.fit(features)
    labels = np.asarray(means.labels_, dtype=np.int64)
    centres = np.asarray(means.cluster_centers_, dtype=np.float32)
    distances = np.empty(len(features))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        distances[rows] = np.linalg.norm(features[rows] - centres[label], axis=1)
    return labels, distances


def in_turn(labels: NDArray[np.int64], cost: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.int64]:
    """All images (N,): of every cluster the one that costs least, largest cluster first, then the second ones."""
    order = lowest_first(cost, rng)
    order = order[np.argsort(labels[order], kind="stable")]  # cluster after cluster, each in its order
    sizes = np.bincount(labels)
    turn = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return order[np.lexsort((rng.random(len(sizes))[labels[order]], -sizes[labels[order]], turn))]
