"""Nearest neighbors, and coverage by nearest neighbors only."""

from __future__ import annotations

import numpy as np
import pytest

from pools import brute_force, pool_of, some_features
from shoestring.selection.algorithms import gpu
from shoestring.selection.algorithms import neighbors as module
from shoestring.selection.algorithms.neighbors import nearest_neighbors
from shoestring.selection.methods.facility_location import facility_location


@pytest.fixture(params=["small blocks", "large blocks", "gpu"])
def blocks(request, monkeypatch):
    if request.param == "gpu":  # simulated on the CPU
        monkeypatch.setattr(module, "gpu_pays_off", lambda device, features: True)
        monkeypatch.setattr(gpu, "_MAX_CELLS", 500)
    if request.param == "small blocks":
        monkeypatch.setattr(module, "_ROWS", 13)
        monkeypatch.setattr(module, "_COLUMNS", 17)
        monkeypatch.setattr(module, "_SAMPLE", 30)


@pytest.mark.parametrize("count", [1, 5, 200])
def test_neighbors_equal_those_of_the_sorted_matrix(count, blocks):
    features = some_features(200, seed=count)
    indices, cosines = nearest_neighbors(features, count)
    matrix = features @ features.T
    for row in range(200):
        assert set(indices[row].tolist()) == set(np.argsort(-matrix[row])[:count].tolist())
        assert np.allclose(cosines[row], matrix[row, indices[row]], atol=1e-6)


def test_duplicates_have_as_many_neighbors_as_other_images(blocks):
    features = np.repeat(some_features(3, seed=0), 40, axis=0)
    indices, cosines = nearest_neighbors(features, 6)
    assert all(len(set(row.tolist())) == 6 for row in indices)
    assert np.allclose(cosines, 1, atol=1e-6)
    assert np.array_equal(indices // 40, np.repeat(np.arange(3), 40)[:, None].repeat(6, 1))


@pytest.mark.parametrize("seed", range(5))
def test_facility_location_with_neighbors_equals_brute_force_on_their_cosines(seed, blocks):
    features = some_features(30, seed=seed)
    matrix = np.maximum(features.astype(np.float64) @ features.T, 0)
    near = np.zeros_like(matrix)
    for row in range(30):
        nearest = np.argsort(-matrix[row])[:6]
        near[row, nearest] = matrix[row, nearest]
    found = facility_location(pool_of(features), 5, rng=np.random.default_rng(0), neighbors=6)
    assert found.tolist() == brute_force(lambda selected: near[:, selected].max(1).sum(), 30, 5)


def test_with_all_images_as_neighbors_facility_location_is_exact():
    pool = pool_of(some_features(60, seed=1))
    results = [facility_location(pool, 20, rng=np.random.default_rng(0), neighbors=count) for count in (0, 60, 1000)]
    assert results[0].tolist() == results[1].tolist() == results[2].tolist()
