from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy.stats import kstest, triang

from pools import pool_of, some_features, unit
from shoestring.errors import UserError
from shoestring.selection.methods.zcore import zcore

module = sys.modules[zcore.__module__]


def _slowly(features: np.ndarray, samples: int, neighbours: int, rng: np.random.Generator) -> list[int]:
    """All images, the highest score first: every sample by itself, and all distances sorted."""
    mixed = rng.permutation(len(features))
    score = rng.random(len(features))
    shuffled = features[mixed].astype(float)
    planes = module._pairs(features.shape[1], samples, rng)
    points = module._triangular(np.ascontiguousarray(features[mixed].T), planes, rng)
    for plane, point in zip(planes, points):
        seen = shuffled[:, plane]
        pick = int(np.abs(seen - point).sum(1).argmin())
        score[pick] += 1
        apart = np.abs(seen - seen[pick]).sum(1)
        others = [i for i in np.argsort(apart, kind="stable") if i != pick][:neighbours]
        if apart[others[0]] == 0:
            others = [i for i in others if apart[i] == 0]
            penalty = np.ones(len(others))
        else:
            penalty = apart[others] ** -4.0
        score[others] -= penalty / penalty.sum()
    return mixed[np.argsort(-score)].tolist()


@pytest.mark.parametrize("neighbours", [1, 5, 1000])
@pytest.mark.parametrize(("count", "seed"), [(2, 0), (30, 1), (90, 2), (200, 3)])
def test_zcore_is_the_slow_sum_over_all_samples(count, seed, neighbours):
    features = some_features(count, seed=seed)
    found = zcore(pool_of(features), count, rng=np.random.default_rng(seed), samples=3, neighbours=neighbours)
    assert found.tolist() == _slowly(features, 3 * count, neighbours, np.random.default_rng(seed))


def test_of_duplicates_one_is_taken_before_the_others():
    features = unit(np.repeat(some_features(6, seed=0), 5, axis=0))
    for seed in range(5):
        found = zcore(pool_of(features), 6, rng=np.random.default_rng(seed), samples=100)
        assert len(set((found // 5).tolist())) == 6


def test_crowded_images_come_last():
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.uniform(-1, 1, (10, 2)), 0.01 * rng.normal(size=(90, 2))]).astype(np.float32)
    found = zcore(pool_of(features), 10, rng=rng, samples=50)
    assert (found < 10).sum() >= 5  # one of them by chance


def test_points_are_triangularly_distributed_between_the_least_and_the_greatest():
    columns = np.sort(np.random.default_rng(0).gamma(1.0, size=(3, 101)), axis=1).astype(np.float32)
    planes = np.tile([[0, 1], [2, 0]], (2000, 1))
    points = module._triangular(columns, planes, np.random.default_rng(1))
    for dimension in range(3):
        low, mode, high = columns[dimension, [0, 50, 100]].astype(float)
        drawn = points[planes == dimension]
        assert kstest(drawn, triang((mode - low) / (high - low), loc=low, scale=high - low).cdf).pvalue > 1e-3


def test_the_dimensions_of_a_sample_are_different_and_all_equally_likely():
    planes = module._pairs(5, 20_000, np.random.default_rng(0))
    times = np.zeros((5, 5))
    np.add.at(times, (planes[:, 0], planes[:, 1]), 1)
    assert (np.diag(times) == 0).all()
    assert np.abs(times[~np.eye(5, dtype=bool)] - 1000).max() < 150


def test_the_nearest_are_found_whatever_the_sample_tells():
    rng = np.random.default_rng(0)
    for count in (1, 3, 40, 199):
        rising = np.sort(rng.random(200)).astype(np.float32)
        flat = np.where(np.arange(200) % 16 == 0, 0, 1 + rising).astype(np.float32)  # the sample misleads
        for apart in (rising, rising[::-1], flat, rng.permutation(rising)):
            near = module._nearest(apart, count)
            assert np.array_equal(np.sort(apart[near]), np.sort(apart)[:count])


@pytest.mark.parametrize("options", [{"samples": 0.0}, {"neighbours": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(UserError, match=f"zcore's {next(iter(options))}"):
        zcore(pool_of(some_features(5, seed=0)), 2, rng=np.random.default_rng(0), **options)
