"""Clustering algorithms on rows (N, D), and what each further cluster gains."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.pruning.clustering.features import Rows

Method = Literal["kmeans", "agglomerative", "kmedoids"]
Numbers = NDArray[np.int64]

_MAX_SWAPS = 1000
_STARTS: Any = 10  # of k-means, of which the best is used; scikit-learn's types are wrong


def cluster_rows(rows: Rows, count: int, method: Method, *, seed: int = 0) -> Numbers:
    """Return the cluster number of each row (N,), from 0 to at most `count` - 1; equal rows may share one.

    "kmeans" minimizes squared distances to the means of clusters, "agglomerative" merges the two clusters that add
    least to them (Ward 1963), and "kmedoids" minimizes distances to one row per cluster (Kaufman & Rousseeuw 1990).
    """
    if count >= len(rows):
        return np.arange(len(rows))
    if method == "kmedoids":
        return kmedoids(_distances(rows), count)
    from sklearn.cluster import AgglomerativeClustering, KMeans
    from sklearn.exceptions import ConvergenceWarning

    if method == "agglomerative":
        return AgglomerativeClustering(count, linkage="ward").fit_predict(rows).astype(np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than clusters
        return KMeans(count, n_init=_STARTS, random_state=seed).fit_predict(rows).astype(np.int64)


def kmedoids(distances: NDArray[np.float64], count: int) -> Numbers:
    """Return the cluster number of each row (N,) by the nearest of `count` medoids, from distances (N, N).

    Medoids are added greedily, and then swapped for other rows, the best swap first, while that reduces the sum of
    distances.
    """
    medoids: list[int] = []
    nearest = np.full(len(distances), np.inf)
    for _ in range(count):
        gains = np.minimum(distances, nearest).sum(1)
        gains[medoids] = np.inf
        medoids.append(int(gains.argmin()))
        nearest = np.minimum(nearest, distances[medoids[-1]])
    total = nearest.sum()
    for _ in range(_MAX_SWAPS):
        best = total, 0, 0
        for place in range(count):
            others = np.delete(distances[medoids], place, axis=0).min(0, initial=np.inf)
            sums = np.minimum(distances, others).sum(1)
            best = min(best, (float(sums.min()), place, int(sums.argmin())))
        if best[0] >= total * (1 - 1e-9):
            break
        total, medoids[best[1]] = best[0], best[2]
    return distances[medoids].argmin(0)


def cluster_gains(rows: Rows) -> NDArray[np.float64]:
    """Return by how much the sum of squared distances falls with each further cluster, (N,), from Ward's dendrogram.

    The first entry repeats the second one: there is always one cluster.
    """
    from scipy.cluster.hierarchy import linkage

    if len(rows) < 2:
        return np.zeros(len(rows))
    heights = linkage(rows, "ward")[:, 2]
    gains = np.asarray(heights[::-1] ** 2 / 2, dtype=np.float64)
    return np.concatenate([gains[:1], gains])


def _distances(rows: Rows) -> NDArray[np.float64]:
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(rows, rows), dtype=np.float64)
