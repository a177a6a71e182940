from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy.stats import kstest, triang

from pools import pool_of, some_features, unit
from shoestring.errors import UserError
from shoestring.selection.methods.zcore import zcore

module = sys.modules[zcore.__module__]


def _brute_force(features: np.ndarray, samples: int, neighbors: int, rng: np.random.Generator) -> list[int]:
    """All images, highest score first, by brute force over samples and sorted distances."""
    order = rng.permutation(len(features))
    score = rng.random(len(features))
    shuffled = features[order].astype(float)
    planes = module._random_planes(features.shape[1], samples, rng)
    points = module._triangular(np.ascontiguousarray(features[order].T), planes, rng)
    for plane, point in zip(planes, points):
        points_2d = shuffled[:, plane]
        pick = int(np.abs(points_2d - point).sum(1).argmin())
        score[pick] += 1
        distances = np.abs(points_2d - points_2d[pick]).sum(1)
        others = [i for i in np.argsort(distances, kind="stable") if i != pick][:neighbors]
        if distances[others[0]] == 0:
            others = [i for i in others if distances[i] == 0]
            penalty = np.ones(len(others))
        else:
            penalty = distances[others] ** -4.0
        score[others] -= penalty / penalty.sum()
    return order[np.argsort(-score)].tolist()


@pytest.mark.parametrize("neighbors", [1, 5, 1000])
@pytest.mark.parametrize(("count", "seed"), [(2, 0), (30, 1), (90, 2), (200, 3)])
def test_zcore_equals_brute_force(count, seed, neighbors):
    features = some_features(count, seed=seed)
    found = zcore(pool_of(features), count, rng=np.random.default_rng(seed), samples=3, neighbors=neighbors)
    assert found.tolist() == _brute_force(features, 3 * count, neighbors, np.random.default_rng(seed))


def test_one_of_each_group_of_duplicates_comes_first():
    features = unit(np.repeat(some_features(6, seed=0), 5, axis=0))
    for seed in range(5):
        found = zcore(pool_of(features), 6, rng=np.random.default_rng(seed), samples=100)
        assert len(set((found // 5).tolist())) == 6


def test_images_in_dense_regions_come_last():
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.uniform(-1, 1, (10, 2)), 0.01 * rng.normal(size=(90, 2))]).astype(np.float32)
    found = zcore(pool_of(features), 10, rng=rng, samples=50)
    assert (found < 10).sum() >= 5  # one is expected at random


def test_points_have_a_triangular_distribution():
    columns = np.sort(np.random.default_rng(0).gamma(1.0, size=(3, 101)), axis=1).astype(np.float32)
    planes = np.tile([[0, 1], [2, 0]], (2000, 1))
    points = module._triangular(columns, planes, np.random.default_rng(1))
    for dimension in range(3):
        low, mode, high = columns[dimension, [0, 50, 100]].astype(float)
        drawn = points[planes == dimension]
        assert kstest(drawn, triang((mode - low) / (high - low), loc=low, scale=high - low).cdf).pvalue > 1e-3


def test_the_dimensions_of_a_sample_are_distinct_and_uniform():
    planes = module._random_planes(5, 20_000, np.random.default_rng(0))
    times = np.zeros((5, 5))
    np.add.at(times, (planes[:, 0], planes[:, 1]), 1)
    assert (np.diag(times) == 0).all()
    assert np.abs(times[~np.eye(5, dtype=bool)] - 1000).max() < 150


def test_the_nearest_are_found_for_any_sample():
    rng = np.random.default_rng(0)
    for count in (1, 3, 40, 199):
        rising = np.sort(rng.random(200)).astype(np.float32)
        flat = np.where(np.arange(200) % 16 == 0, 0, 1 + rising).astype(np.float32)  # an unrepresentative sample
        for distances in (rising, rising[::-1], flat, rng.permutation(rising)):
            near = module._nearest(distances, count)
            assert np.array_equal(np.sort(distances[near]), np.sort(distances)[:count])


@pytest.mark.parametrize("options", [{"samples": 0.0}, {"neighbors": 0}])
def test_options_out_of_range_raise_errors(options):
    with pytest.raises(UserError, match=f"zcore's {next(iter(options))}"):
        zcore(pool_of(some_features(5, seed=0)), 2, rng=np.random.default_rng(0), **options)
