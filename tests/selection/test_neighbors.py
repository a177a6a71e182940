"""The nearest images, and coverage by near images only."""

from __future__ import annotations

import numpy as np
import pytest

from pools import pool_of, slow_greedy, some_features
from shoestring.selection.algorithms import gpu
from shoestring.selection.algorithms import neighbors as module
from shoestring.selection.algorithms.neighbors import nearest
from shoestring.selection.methods.facility_location import facility_location


@pytest.fixture(params=["small blocks", "large blocks", "accelerated"])
def blocks(request, monkeypatch):
    if request.param == "accelerated":  # the processor stands in for an accelerator
        monkeypatch.setattr(module, "accelerates", lambda device, features: True)
        monkeypatch.setattr(gpu, "_CELLS", 500)
    if request.param == "small blocks":
        monkeypatch.setattr(module, "_ROWS", 13)
        monkeypatch.setattr(module, "_COLUMNS", 17)
        monkeypatch.setattr(module, "_SAMPLE", 30)


@pytest.mark.parametrize("count", [1, 5, 200])
def test_the_nearest_are_those_of_the_sorted_table(count, blocks):
    features = some_features(200, seed=count)
    places, cosines = nearest(features, count)
    table = features @ features.T
    for row in range(200):
        assert set(places[row].tolist()) == set(np.argsort(-table[row])[:count].tolist())
        assert np.allclose(cosines[row], table[row, places[row]], atol=1e-6)


def test_duplicates_have_as_many_neighbours_as_others(blocks):
    features = np.repeat(some_features(3, seed=0), 40, axis=0)
    places, cosines = nearest(features, 6)
    assert all(len(set(row.tolist())) == 6 for row in places)
    assert np.allclose(cosines, 1, atol=1e-6)
    assert np.array_equal(places // 40, np.repeat(np.arange(3), 40)[:, None].repeat(6, 1))


@pytest.mark.parametrize("seed", range(5))
def test_facility_location_with_neighbours_is_the_slow_greedy_on_their_cosines(seed, blocks):
    features = some_features(30, seed=seed)
    table = np.maximum(features.astype(np.float64) @ features.T, 0)
    near = np.zeros_like(table)
    for row in range(30):
        places = np.argsort(-table[row])[:6]
        near[row, places] = table[row, places]
    found = facility_location(pool_of(features), 5, rng=np.random.default_rng(0), neighbours=6)
    assert found.tolist() == slow_greedy(lambda chosen: near[:, chosen].max(1).sum(), 30, 5)


def test_with_all_as_neighbours_it_is_exact_facility_location():
    pool = pool_of(some_features(60, seed=1))
    ways = [facility_location(pool, 20, rng=np.random.default_rng(0), neighbours=count) for count in (0, 60, 1000)]
    assert ways[0].tolist() == ways[1].tolist() == ways[2].tolist()
