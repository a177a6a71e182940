"""k-means clusters of images, and a round-robin order over them."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.similarity import Floats
from shoestring.selection.algorithms.ties import random_argsort

_MAX_FULL_BATCH = 20_000  # images; above that, mini-batch k-means


def kmeans(features: Floats, count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """k-means with `count` clusters: the cluster of each image (N,) and its distance to the cluster's center (N,).

    Some clusters are empty if there are fewer distinct images than clusters.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    seed = int(rng.integers(2**31))
    if len(features) > _MAX_FULL_BATCH:
        means = MiniBatchKMeans(count, random_state=seed, batch_size=4096)
    else:
        means = KMeans(count, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct images than clusters
        means.fit(features)
    labels = np.asarray(means.labels_, dtype=np.int64)
    centers = np.asarray(means.cluster_centers_, dtype=np.float32)
    distances = np.empty(len(features))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        distances[rows] = np.linalg.norm(features[rows] - centers[label], axis=1)
    return labels, distances


def round_robin(labels: NDArray[np.int64], cost: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.int64]:
    """All images (N,): the one of least cost from each cluster, largest cluster first, then the second ones, etc."""
    order = random_argsort(cost, rng)
    order = order[np.argsort(labels[order], kind="stable")]  # cluster by cluster, each by cost
    sizes = np.bincount(labels)
    turn = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return order[np.lexsort((rng.random(len(sizes))[labels[order]], -sizes[labels[order]], turn))]
