"""What every method keeps on awkward pools, and what a method that knows features only must not depend on."""

from __future__ import annotations

import numpy as np
import pytest

from pools import pool_of, some_features, unit
from shoestring.config import registry

METHODS = registry.names("select")
# Methods in which chance has a part even when no two images are alike: clusters are started at random, all images span
# the same volume at first, and balls hold equal numbers of images; zcore samples.
BY_CHANCE = {"random", "prototypes", "typiclust", "prob_cover", "log_det", "zcore"}
# Choices among choices: of small pools they are not the greedy ranking, and begin otherwise for another size.
BY_PIECES = {"streaming"}
BY_TRAINING = {"forgetting", "margin", "aum", "el2n", "grand", "ccs", "dual", "craig", "window"}
BY_FEATURES = [name for name in METHODS if name not in BY_CHANCE | BY_TRAINING]

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
def test_awkward_pools_give_as_many_different_images_as_asked_for(method, name):
    strategy, features = registry.find("select", method), unit(POOLS[name])
    for size in range(1, len(features) + 1):
        found = strategy(pool_of(features), size, rng=np.random.default_rng(0))
        assert found.dtype == np.int64
        assert sorted(set(found.tolist())) == sorted(found.tolist())
        assert len(found) == size
        assert found.min() >= 0 and found.max() < len(features)


@pytest.mark.parametrize("method", METHODS)
def test_everything_chosen_is_a_permutation(method):
    found = registry.find("select", method)(pool_of(some_features(25, seed=0)), 25, rng=np.random.default_rng(0))
    assert sorted(found.tolist()) == list(range(25))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("method", [name for name in BY_FEATURES if name not in BY_PIECES])
def test_the_order_of_the_pool_does_not_matter(method, seed):
    strategy, features = registry.find("select", method), some_features(31, seed=seed)
    order = np.random.default_rng(seed).permutation(31)
    found = strategy(pool_of(features), 6, rng=np.random.default_rng(0))
    turned = strategy(pool_of(features[order]), 6, rng=np.random.default_rng(1))
    assert order[turned].tolist() == found.tolist()


@pytest.mark.parametrize(
    "method", [name for name in METHODS if name not in {"prototypes", "typiclust", "diversity", "window", *BY_PIECES}]
)
def test_a_smaller_choice_is_the_beginning_of_a_larger_one(method):
    strategy, pool = registry.find("select", method), pool_of(some_features(30, seed=4))
    small, large = (strategy(pool, size, rng=np.random.default_rng(7)) for size in (5, 12))
    assert large[:5].tolist() == small.tolist()


@pytest.mark.parametrize("method", BY_FEATURES)
def test_ties_go_by_the_seed_not_by_the_place(method):
    pool = pool_of(np.ones((20, 1), dtype=np.float32))
    firsts = {int(registry.find("select", method)(pool, 3, rng=np.random.default_rng(seed))[0]) for seed in range(8)}
    assert len(firsts) > 3
