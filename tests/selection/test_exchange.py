"""Search strategies of max-sum diversification on clustered features."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from pools import pool_of, unit
from shoestring.errors import UserError
from shoestring.selection.methods.diversity import diversity


def _clusters(seed: int, *, count: int = 60, dimensions: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(4, dimensions))
    return unit(centres[rng.integers(4, size=count)] + 0.3 * rng.normal(size=(count, dimensions)))


def _spread(features: np.ndarray, selected) -> float:
    """Sum of pairwise cosine distances, by brute force."""
    features = features.astype(np.float64)
    return sum(1 - float(features[i] @ features[j]) for i, j in combinations(selected, 2))


@pytest.mark.parametrize("size", [2, 7, 20])
@pytest.mark.parametrize("seed", range(5))
def test_annealing_is_as_good_as_greedy_with_swaps(seed, size):
    features = _clusters(seed)
    found = {
        search: _spread(features, diversity(pool_of(features), size, rng=np.random.default_rng(0), search=search))
        for search in ("greedy", "annealing", "random")
    }
    assert found["annealing"] >= 0.99 * found["greedy"]
    assert found["annealing"] >= found["random"] - 1e-9


def test_annealing_finds_the_optimum():
    features = _clusters(0, count=12, dimensions=4)
    best = max(_spread(features, some) for some in combinations(range(12), 4))
    found = diversity(pool_of(features), 4, rng=np.random.default_rng(0), search="annealing")
    assert _spread(features, found) == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("draws", [1, 50])
@pytest.mark.parametrize("seed", range(4))
def test_random_search_returns_the_best_of_its_draws(seed, draws):
    features, rng = _clusters(seed), np.random.default_rng(seed)
    drawn = [rng.choice(60, 6, replace=False) for _ in range(draws)]
    best = max(drawn, key=lambda selected: _spread(features, selected))
    found = diversity(pool_of(features), 6, rng=np.random.default_rng(seed), search="random", draws=draws)
    assert sorted(found.tolist()) == sorted(best.tolist())


@pytest.mark.parametrize("search", ["annealing", "random"])
def test_the_result_is_in_greedy_order(search):
    features = _clusters(1)
    found = diversity(pool_of(features), 8, rng=np.random.default_rng(0), search=search, draws=20)
    again = diversity(pool_of(features[found]), 8, rng=np.random.default_rng(0), swaps=0)
    assert again.tolist() == list(range(8))


@pytest.mark.parametrize("search", ["annealing", "random"])
@pytest.mark.parametrize("features", [np.ones((1, 1)), np.ones((9, 3)), np.repeat(np.eye(4), 2, axis=0)])
def test_all_images_and_equal_images_can_be_selected(search, features):
    for size in (1, len(features) - 1, len(features)):
        if size:
            found = diversity(pool_of(unit(features)), size, rng=np.random.default_rng(0), search=search, draws=5)
            assert len(set(found.tolist())) == size


def test_zero_draws_raise_an_error():
    with pytest.raises(UserError, match="diversity's draws"):
        diversity(pool_of(_clusters(0)), 3, rng=np.random.default_rng(0), search="random", draws=0)
