"""Every greedy method continues from the images selected before, as if it had started with them."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from pools import DETERMINISTIC, brute_force, pool_of, some_features, unit
from shoestring.config import registry
from shoestring.selection.algorithms.similarity import DenseSimilarity
from shoestring.selection.methods.d2 import d2
from shoestring.selection.methods.diversity import diversity
from shoestring.selection.methods.facility_location import facility_location
from shoestring.selection.methods.graph_cut import graph_cut
from shoestring.selection.methods.herding import herding
from shoestring.selection.methods.k_center import k_center
from shoestring.selection.methods.log_det import log_det
from shoestring.selection.methods.max_herding import max_herding
from shoestring.selection.methods.prob_cover import prob_cover
from shoestring.selection.methods.representative import representative
from shoestring.selection.methods.typiclust import typiclust

GREEDY = {*DETERMINISTIC, "log_det", "prob_cover"}
BEFORE = np.array([3, 17, 8])


def _accepts_already(method) -> bool:
    return "already" in inspect.signature(method).parameters


WITH_ALREADY = [name for name in registry.names("select") if _accepts_already(registry.find("select", name))]


def _select(method, features, size=5, already=BEFORE, **options) -> list[int]:
    return method(pool_of(features), size, rng=np.random.default_rng(0), already=already, **options).tolist()


def _brute_force(value, size=5) -> list[int]:
    return brute_force(value, 30, len(BEFORE) + size, given=tuple(BEFORE))[len(BEFORE) :]


def test_all_greedy_methods_accept_already():
    assert {*GREEDY, "typiclust"} <= set(WITH_ALREADY)


@pytest.mark.parametrize("method", WITH_ALREADY)
def test_images_selected_before_are_not_selected_again(method):
    found = _select(registry.find("select", method), some_features(30, seed=1), size=27)
    assert sorted([*found, *BEFORE]) == list(range(30))


@pytest.mark.parametrize("method", sorted(GREEDY - {"diversity"}))
def test_a_method_continues_where_a_smaller_selection_ended(method):
    strategy, features = registry.find("select", method), some_features(30, seed=2)
    options = {"radius": 0.9} if method == "prob_cover" else {}
    whole = strategy(pool_of(features), 9, rng=np.random.default_rng(0), **options).tolist()
    rest = _select(strategy, features, already=np.array(whole[:4]), **options)
    if method == "prob_cover":  # balls of equal size tie, and ties are broken at random
        rest, whole = sorted(_gains(features, [*whole[:4], *rest])), sorted(_gains(features, whole))
        assert rest == whole
    else:
        assert rest == whole[4:]


def _gains(features, selected) -> list[int]:
    inside = (features @ features.T > 1 - 0.9**2 / 2)[selected]
    return np.diff([inside[:count].any(0).sum() for count in range(len(selected) + 1)]).tolist()


@pytest.mark.parametrize("options", [{}, {"neighbors": 30}])
@pytest.mark.parametrize("max_pairs", [0, 10**6])
@pytest.mark.parametrize("seed", range(4))
def test_facility_location_continues(seed, max_pairs, options, monkeypatch):
    monkeypatch.setattr(DenseSimilarity, "max_pairs", max_pairs)
    features = some_features(30, seed=seed)
    table = np.maximum(features.astype(np.float64) @ features.T, 0)
    assert _select(facility_location, features, **options) == _brute_force(
        lambda selected: table[:, selected].max(1).sum()
    )


def test_stochastic_greedy_continues():
    found = _select(facility_location, some_features(30, seed=0), size=27, sample=0.1)
    assert sorted([*found, *BEFORE]) == list(range(30))


@pytest.mark.parametrize("seed", range(4))
def test_max_herding_continues(seed):
    features = some_features(30, seed=seed)
    table = np.exp((features.astype(np.float64) @ features.T - 1) / 0.5**2)
    assert _select(max_herding, features, bandwidth=0.5) == _brute_force(
        lambda selected: table[:, selected].max(1).sum()
    )


def test_prob_cover_continues_with_uncovered_images():
    groups = np.repeat(np.eye(3), [10, 6, 3], axis=0)
    found = _select(prob_cover, unit(groups), size=2, already=np.array([0]), radius=0.5)
    assert 10 <= found[0] < 16 <= found[1]


@pytest.mark.parametrize("seed", range(4))
def test_k_center_continues(seed):
    features = some_features(30, seed=seed).astype(np.float64)
    distances = np.linalg.norm(features[:, None] - features[None], axis=2)
    selected = list(BEFORE)
    for _ in range(5):
        selected.append(int(distances[:, selected].min(1).argmax()))
    assert _select(k_center, features.astype(np.float32)) == selected[3:]


@pytest.mark.parametrize("seed", range(4))
def test_graph_cut_continues(seed):
    features = some_features(30, seed=seed)
    table = features.astype(np.float64) @ features.T

    def value(selected: list[int]) -> float:
        return table[:, selected].sum() - 2.0 * table[np.ix_(selected, selected)].sum()

    assert _select(graph_cut, features, weight=2.0) == _brute_force(value)


@pytest.mark.parametrize("seed", range(4))
def test_log_det_continues(seed):
    features = some_features(30, seed=seed)
    table = features.astype(np.float64) @ features.T + 1e-3 * np.eye(30)
    assert _select(log_det, features) == _brute_force(
        lambda selected: np.linalg.slogdet(table[np.ix_(selected, selected)])[1]
    )


@pytest.mark.parametrize("seed", range(4))
def test_herding_continues(seed):
    features = some_features(30, seed=seed).astype(np.float64)
    mean, selected = features.mean(0), list(BEFORE)
    w = mean + (mean - features[BEFORE]).sum(0)
    for _ in range(5):
        selected.append(max((i for i in range(30) if i not in selected), key=lambda i: features[i] @ w))
        w = w + mean - features[selected[-1]]
    assert _select(herding, features.astype(np.float32)) == selected[3:]


@pytest.mark.parametrize("diversity", [0.0, 0.3, 1.0])
def test_representative_continues(diversity):
    features = some_features(30, seed=0).astype(np.float64)

    def value(selected: list[int]) -> float:
        count, total = len(selected), features[selected].sum(0)
        spread = (count**2 - total @ total) / (count * (count - 1))
        return diversity * spread - (1 - diversity) * np.linalg.norm(total / count - features.mean(0))

    assert _select(representative, features.astype(np.float32), diversity=diversity) == _brute_force(value)


@pytest.mark.parametrize("seed", range(4))
def test_diversity_continues_and_swaps_new_images_only(seed):
    features = some_features(30, seed=seed)

    def spread(selected) -> float:
        total = features[list(selected)].sum(0, dtype=np.float64)
        return float(len(selected) ** 2 - total @ total)

    assert _select(diversity, features, swaps=0) == _brute_force(spread)
    better = _select(diversity, features)
    assert spread([*BEFORE, *better]) >= spread([*BEFORE, *_brute_force(spread)]) - 1e-6
    assert not set(better) & set(BEFORE.tolist())


@pytest.mark.parametrize("search", ["annealing", "random"])
def test_other_searches_of_diversity_continue(search):
    """Of two directions, the one selected before is not selected again."""
    features = unit(np.repeat(np.eye(2), 10, axis=0) + 0.01 * some_features(20, seed=0, dimensions=2))
    found = _select(diversity, features, size=3, already=np.array([0, 1, 2]), search=search)
    assert min(found) >= 10


def test_d2_lowers_the_scores_of_neighbors_of_images_selected_before():
    features = unit([[1, 0], [1, 0.01], [1, 0.02], [0, 1], [0.01, 1]])
    found = _select(d2, features, size=2, already=np.array([1]), neighbors=2)
    assert found[0] in (3, 4)


def test_typiclust_skips_clusters_with_images_selected_before():
    groups = np.repeat(np.eye(4), [9, 8, 7, 6], axis=0)
    features = unit(groups + 0.05 * some_features(30, seed=0, dimensions=4))
    found = _select(typiclust, features, size=2, already=np.array([0, 10]))
    assert 17 <= found[0] < 24 <= found[1]
