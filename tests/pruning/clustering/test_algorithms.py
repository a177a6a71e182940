from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from shoestring.pruning.clustering.algorithms import cluster_gains, cluster_rows, kmedoids

METHODS = ("kmeans", "agglomerative", "kmedoids")


@pytest.mark.parametrize("method", METHODS)
def test_separate_clusters_are_found(method):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 40)
    rows = 10 * np.eye(4)[truth] + rng.normal(size=(40, 4)) / 10
    numbers = cluster_rows(rows, 4, method)
    assert numbers.shape == (40,) and set(numbers.tolist()) == {0, 1, 2, 3}
    assert all(len(set(numbers[truth == label].tolist())) == 1 for label in range(4))


@pytest.mark.parametrize("method", METHODS)
def test_fewer_distinct_rows_than_clusters(method):
    rows = np.repeat(np.eye(2), 4, axis=0)
    numbers = cluster_rows(rows, 5, method)
    assert numbers.max() < 5
    for number in set(numbers.tolist()):
        assert len(np.unique(rows[numbers == number], axis=0)) == 1
    assert np.array_equal(cluster_rows(rows, 8, method), np.arange(8))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_k_medoids_against_brute_force(count):
    for seed in range(5):
        points = np.random.default_rng(seed).normal(size=(9, 2))
        distances = np.linalg.norm(points[:, None] - points, axis=2)
        numbers = kmedoids(distances, count)
        own = sum(
            distances[np.ix_(rows, rows)].sum(1).min()
            for number in set(numbers.tolist())
            for rows in [np.flatnonzero(numbers == number)]
        )
        best = min(distances[list(medoids)].min(0).sum() for medoids in combinations(range(9), count))
        assert best - 1e-9 <= own <= 1.05 * best


def test_gains_are_the_reductions_of_the_error_of_wards_clusters():
    rows = np.random.default_rng(0).normal(size=(12, 3))
    gains = cluster_gains(rows)
    assert gains.shape == (12,) and gains[0] == gains[1]
    errors = []
    for count in range(1, 13):
        numbers = cluster_rows(rows, count, "agglomerative")
        errors.append(sum(((rows[numbers == n] - rows[numbers == n].mean(0)) ** 2).sum() for n in set(numbers)))
    assert np.allclose(gains[1:], -np.diff(errors))
