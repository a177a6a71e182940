"""Clustering methods: prototypes and TypiClust."""

from __future__ import annotations

import numpy as np
import pytest

from pools import pool_of, some_features, unit
from shoestring.errors import UserError
from shoestring.selection.algorithms.clusters import kmeans, round_robin
from shoestring.selection.methods.prototypes import prototypes
from shoestring.selection.methods.typiclust import mean_distance, typiclust


def _groups(*counts: int, noise: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Features of well-separated groups of these sizes, and the group of each image."""
    labels = np.repeat(np.arange(len(counts)), counts)
    features = np.eye(len(counts) + 3)[labels] + noise * some_features(len(labels), seed=0, dimensions=len(counts) + 3)
    return unit(features), labels


def test_round_robin_starts_with_the_largest_cluster():
    labels = np.array([0, 1, 1, 2, 2, 2])
    cost = np.array([9.0, 2.0, 1.0, 6.0, 5.0, 4.0])
    assert round_robin(labels, cost, np.random.default_rng(0)).tolist() == [5, 2, 0, 4, 1, 3]


def test_kmeans_distances_are_to_the_mean_of_the_cluster():
    features, groups = _groups(9, 6, 4)
    labels, distances = kmeans(features, 3, np.random.default_rng(0))
    assert len(set(zip(labels.tolist(), groups.tolist()))) == 3
    for label in range(3):
        own = features[labels == label]
        assert np.allclose(distances[labels == label], np.linalg.norm(own - own.mean(0), axis=1), atol=1e-5)


@pytest.mark.parametrize("order", ["easiest", "hardest"])
def test_prototypes_are_nearest_to_or_farthest_from_their_centers(order):
    features, groups = _groups(12, 9, 6, 3)
    pick = {"easiest": np.argmin, "hardest": np.argmax}[order]
    expected = []
    for group in range(4):
        rows = np.flatnonzero(groups == group)
        expected.append(int(rows[pick(np.linalg.norm(features[rows] - features[rows].mean(0), axis=1))]))
    assert prototypes(pool_of(features), 4, rng=np.random.default_rng(0), order=order).tolist() == expected


def test_typiclust_selects_the_densest_image_of_each_cluster():
    features, groups = _groups(12, 9, 6, 3)
    expected = []
    for group in range(4):
        rows = np.flatnonzero(groups == group)
        distances = np.linalg.norm(features[rows][:, None] - features[rows][None], axis=2)
        near = np.sort(distances, axis=1)[:, 1:6]  # five neighbors, or all there are
        expected.append(int(rows[near.mean(1).argmin()]))
    assert typiclust(pool_of(features), 4, rng=np.random.default_rng(0), neighbors=5).tolist() == expected


def test_the_mean_distance_in_blocks_equals_that_of_the_full_matrix():
    features = some_features(600, seed=0)
    distances = np.sort(np.sqrt(np.maximum(2 - 2 * features.astype(np.float64) @ features.T, 0)), axis=1)
    assert np.allclose(mean_distance(features, 20), distances[:, 1:21].mean(1), atol=1e-5)


def test_typiclust_has_one_cluster_per_image_to_select():
    """Also for more than 500 images."""
    features, groups = _groups(*[2] * 600, noise=0.01)
    found = typiclust(pool_of(features), 550, rng=np.random.default_rng(0))
    assert len(set(groups[found].tolist())) > 500


def test_zero_neighbors_raise_an_error():
    with pytest.raises(UserError, match="typiclust's neighbors must be at least 1"):
        typiclust(pool_of(np.eye(3, dtype=np.float32)), 2, rng=np.random.default_rng(0), neighbors=0)
