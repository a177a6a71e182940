"""Methods based on the mean: herding, representative, moderate."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from pools import brute_force, pool_of, some_features
from shoestring.selection.methods.herding import herding
from shoestring.selection.methods.moderate import moderate
from shoestring.selection.methods.representative import representative


@pytest.mark.parametrize("seed", range(6))
def test_herding_follows_its_recursion(seed):
    features = some_features(30, seed=seed).astype(np.float64)
    mean = features.mean(0)
    w, selected = mean, []
    for _ in range(5):
        left = [i for i in range(30) if i not in selected]
        selected.append(max(left, key=lambda i: features[i] @ w))
        w = w + mean - features[selected[-1]]
    assert herding(pool_of(features.astype(np.float32)), 5, rng=np.random.default_rng(0)).tolist() == selected


def _distance(features: np.ndarray, selected) -> float:
    return float(np.linalg.norm(features[list(selected)].mean(0) - features.mean(0)))


def _spread(features: np.ndarray, selected) -> float:
    pairs = [1 - features[i] @ features[j] for i, j in combinations(selected, 2)]
    return float(np.mean(pairs)) if pairs else 0.0


@pytest.mark.parametrize("diversity", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_representative_equals_brute_force(seed, diversity):
    features = some_features(30, seed=seed).astype(np.float64)

    def value(selected: list[int]) -> float:
        return diversity * _spread(features, selected) - (1 - diversity) * _distance(features, selected)

    pool = pool_of(features.astype(np.float32))
    found = representative(pool, 5, rng=np.random.default_rng(0), diversity=diversity).tolist()
    given = (found[0],) if diversity == 1 else ()  # a single image has no diversity: the first is random
    assert found == brute_force(value, 30, 5, given=given)


@pytest.mark.parametrize("method", [herding, representative])
def test_the_mean_of_the_subset_is_nearer_than_that_of_random_subsets(method):
    features = some_features(200, seed=0).astype(np.float64)
    found = method(pool_of(features.astype(np.float32)), 20, rng=np.random.default_rng(0))
    baseline = [_distance(features, np.random.default_rng(seed).permutation(200)[:20]) for seed in range(30)]
    assert _distance(features, found) < 0.3 * min(baseline)


@pytest.mark.parametrize("seed", range(4))
def test_moderate_selects_around_the_median_and_no_extremes(seed):
    features = some_features(31, seed=seed).astype(np.float64)
    distances = np.linalg.norm(features - features.mean(0), axis=1)
    order = np.argsort(np.abs(distances - np.median(distances)))
    found = moderate(pool_of(features.astype(np.float32)), 7, rng=np.random.default_rng(0))
    assert found.tolist() == order[:7].tolist()
    ranks = np.argsort(np.argsort(distances))
    assert found[0] == np.flatnonzero(ranks == 15)[0]
    assert all(5 < rank < 25 for rank in ranks[found])
