"""Invariants of every method on edge-case pools, and of methods that use features only."""

from __future__ import annotations

import numpy as np
import pytest

from pools import pool_of, some_features, unit
from shoestring.config import registry

METHODS = registry.names("select")
# Random even if no two images are equal: k-means is initialized at random, all first gains of log_det are equal, balls
# of equal size tie, and zcore samples.
RANDOM = {"random", "prototypes", "typiclust", "prob_cover", "log_det", "zcore"}
# Two-stage: not the greedy ranking on small pools, and another size changes the first images.
TWO_STAGE = {"streaming"}
BY_SIGNALS = {"forgetting", "margin", "aum", "el2n", "grand", "ccs", "dual", "craig", "window"}
BY_FEATURES = [name for name in METHODS if name not in RANDOM | BY_SIGNALS]

POOLS = {
    "one image": np.ones((1, 1)),
    "two images": np.eye(2),
    "all the same": np.ones((9, 3)),
    "pairs of duplicates": np.repeat(np.eye(5), 2, axis=0),
    "one and its opposite": np.array([[1.0, 0.0]] * 5 + [[-1.0, 0.0]] * 4),
    "one dimension": np.array([[1.0], [-1.0], [1.0], [1.0]]),
    "more dimensions than images": np.random.default_rng(0).normal(size=(6, 40)),
}


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("method", METHODS)
def test_edge_case_pools_return_the_requested_number_of_distinct_images(method, name):
    strategy, features = registry.find("select", method), unit(POOLS[name])
    for size in range(1, len(features) + 1):
        found = strategy(pool_of(features), size, rng=np.random.default_rng(0))
        assert found.dtype == np.int64
        assert sorted(set(found.tolist())) == sorted(found.tolist())
        assert len(found) == size
        assert found.min() >= 0 and found.max() < len(features)


@pytest.mark.parametrize("method", METHODS)
def test_selecting_all_images_is_a_permutation(method):
    found = registry.find("select", method)(pool_of(some_features(25, seed=0)), 25, rng=np.random.default_rng(0))
    assert sorted(found.tolist()) == list(range(25))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("method", [name for name in BY_FEATURES if name not in TWO_STAGE])
def test_the_order_of_the_pool_does_not_matter(method, seed):
    strategy, features = registry.find("select", method), some_features(31, seed=seed)
    order = np.random.default_rng(seed).permutation(31)
    pool = pool_of(features)
    found = strategy(pool, 6, rng=np.random.default_rng(0))
    if not pool.features_used:
        pytest.skip("the method does not use features")
    permuted = strategy(pool_of(features[order]), 6, rng=np.random.default_rng(1))
    assert order[permuted].tolist() == found.tolist()


@pytest.mark.parametrize(
    "method", [name for name in METHODS if name not in {"prototypes", "typiclust", "diversity", "window", *TWO_STAGE}]
)
def test_a_smaller_subset_is_a_prefix_of_a_larger_one(method):
    strategy, pool = registry.find("select", method), pool_of(some_features(30, seed=4))
    small, large = (strategy(pool, size, rng=np.random.default_rng(7)) for size in (5, 12))
    assert large[:5].tolist() == small.tolist()


@pytest.mark.parametrize("method", BY_FEATURES)
def test_ties_are_broken_by_the_seed_not_the_index(method):
    pool = pool_of(np.ones((20, 1), dtype=np.float32))
    firsts = {int(registry.find("select", method)(pool, 3, rng=np.random.default_rng(seed))[0]) for seed in range(8)}
    assert len(firsts) > 3
