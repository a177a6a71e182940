"""Bugs that other tools have or had; the numbers are those of our survey of these tools."""

from __future__ import annotations

import numpy as np
import pytest

from pools import DETERMINISTIC, brute_force, pool_of, some_features, unit
from shoestring.config import registry
from shoestring.selection.algorithms import neighbors
from shoestring.selection.algorithms import similarity as blocks
from shoestring.selection.algorithms.similarity import BlockSimilarity, DenseSimilarity, gains
from shoestring.selection.methods.facility_location import facility_location
from shoestring.selection.methods.k_center import k_center
from shoestring.selection.methods.log_det import log_det
from shoestring.selection.methods.moderate import moderate
from shoestring.selection.methods.prob_cover import prob_cover


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("seed", range(5))
def test_1_the_cosine_is_not_squared(seed):
    features = some_features(25, seed=seed, dimensions=4)
    cosines = features.astype(np.float64) @ features.T
    found = facility_location(pool_of(features), 4, rng=_rng()).tolist()
    assert found == brute_force(lambda selected: np.maximum(cosines, 0)[:, selected].max(1).sum(), 25, 4)
    assert found != brute_force(lambda selected: (cosines**2)[:, selected].max(1).sum(), 25, 4)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_2_neighbors_work_in_both_precisions_and_without_a_matrix_of_all_pairs(kind, monkeypatch):
    largest = []
    monkeypatch.setattr(neighbors, "inner_products", lambda a, b: (largest.append(len(a) * len(b)), np.dot(a, b.T))[1])
    monkeypatch.setattr(neighbors, "_ROWS", 20)
    monkeypatch.setattr(neighbors, "_COLUMNS", 40)
    monkeypatch.setattr(neighbors, "_SAMPLE", 30)
    features = some_features(300, seed=0).astype(kind)
    found = facility_location(pool_of(features), 10, rng=_rng(), neighbors=20)
    assert len(set(found.tolist())) == 10
    assert max(largest) <= 20 * 100


def test_3_neighbors_need_fewer_products_than_all_pairs(monkeypatch):
    products = {}
    for options in ({"neighbors": 20}, {}):
        count = []
        for module in (neighbors, blocks):
            monkeypatch.setattr(module, "inner_products", lambda a, b, count=count: _counted(count, a, b))
        monkeypatch.setattr(blocks, "_MAX_DENSE_BYTES", 0)
        monkeypatch.setattr(BlockSimilarity, "max_pairs", 60_000)
        facility_location(pool_of(some_features(3000, seed=0)), 50, rng=_rng(), **options)
        products["neighbors" if options else "all"] = sum(count)
    assert products["neighbors"] < products["all"]


def _counted(count: list[int], left: np.ndarray, right: np.ndarray) -> np.ndarray:
    count.append(len(left) * len(np.atleast_2d(right)))
    return np.dot(left, right.T)


@pytest.mark.parametrize("seed", range(5))
def test_4_log_det_avoids_near_duplicates(seed):
    near = np.eye(6)[0] + 1e-3 * some_features(20, seed=seed, dimensions=6)
    features = unit(np.concatenate([near, np.eye(6)[1:4]]))
    found = log_det(pool_of(features), 4, rng=_rng(seed))
    assert set(found.tolist()) > {20, 21, 22}
    cosines = features[found].astype(np.float64) @ features[found].T
    assert np.linalg.slogdet(cosines)[1] > -0.1


@pytest.mark.parametrize("kind", [DenseSimilarity, BlockSimilarity])
@pytest.mark.parametrize("rows", [1, 7, 64, 1000])
def test_5_gains_are_exact_for_every_block_size(kind, rows, monkeypatch):
    monkeypatch.setattr(blocks, "_MAX_CELLS", rows * 101)
    monkeypatch.setattr(blocks, "_ROWS", rows)
    features, best = some_features(101, seed=0), _rng().random(101).astype(np.float32)
    expected = np.maximum(features.astype(np.float64) @ features.T - best, 0).sum(1)
    own = kind(features, None)
    assert np.allclose(gains(own, np.arange(101), best), expected, atol=1e-5)
    assert np.allclose(own.all_gains(best), expected, atol=1e-5)


@pytest.mark.parametrize("size", [3, 10, 30])
def test_6_moderate_selects_around_the_median(size):
    features = some_features(100, seed=0).astype(np.float64)
    distances = np.linalg.norm(features - features.mean(0), axis=1)
    found = moderate(pool_of(features.astype(np.float32)), size, rng=_rng())
    from_median = np.abs(distances - np.median(distances))
    assert from_median[found].max() <= np.sort(from_median)[size - 1] + 1e-6
    ranks = np.argsort(np.argsort(distances))[found]
    assert ranks.min() > 5 and ranks.max() < 94


def _on_a_line(*positions: float) -> np.ndarray:
    """Unit vectors whose distances are approximately those of points on a line."""
    angles = np.array(positions) / 100
    return unit(np.stack([np.cos(angles), np.sin(angles)], 1))


def test_7_k_center_starts_with_and_without_images_selected_before():
    features = _on_a_line(0, 1, 2, 3, 100, 101)
    assert k_center(pool_of(features), 2, rng=_rng(), already=np.array([0, 1])).tolist() == [5, 3]
    found = k_center(pool_of(features), 3, rng=_rng())
    assert len(set(found.tolist())) == 3
    assert {int(index) // 4 for index in found[:2]} == {0, 1}  # one from each end


@pytest.mark.parametrize("count", [499, 501, 999, 4097])
def test_8_prob_cover_can_select_the_last_rows(count):
    features = np.tile(_on_a_line(0.0), (count, 1))
    features[-3:] = _on_a_line(150)  # the only ones in this direction
    found = prob_cover(pool_of(features), 2, rng=_rng(), radius=0.5)
    assert found[0] < count - 3 <= found[1]


@pytest.mark.parametrize("method", DETERMINISTIC)
def test_9_the_first_image_is_not_random_if_it_is_defined(method):
    strategy, pool = registry.find("select", method), pool_of(some_features(40, seed=0))
    assert len({int(strategy(pool, 3, rng=_rng(seed))[0]) for seed in range(6)}) == 1


@pytest.mark.parametrize("method", registry.names("select"))
def test_9_results_depend_on_the_seed_only(method):
    strategy, features = registry.find("select", method), some_features(40, seed=0)
    first, again = (strategy(pool_of(features), 8, rng=_rng(3)).tolist() for _ in range(2))
    assert first == again


def test_9_k_center_returns_its_first_image():
    features = some_features(40, seed=0)
    first = int(np.linalg.norm(features - features.mean(0), axis=1).argmin())
    assert k_center(pool_of(features), 1, rng=_rng()).tolist() == [first]
    assert first in k_center(pool_of(features), 20, rng=_rng())


@pytest.mark.parametrize("method", registry.names("select"))
def test_9_no_image_is_selected_twice_among_duplicates(method):
    features = np.repeat(some_features(6, seed=0), 10, axis=0)
    found = registry.find("select", method)(pool_of(features), 45, rng=_rng())
    assert len(set(found.tolist())) == 45


def test_9_gains_never_grow():
    features = some_features(80, seed=0)
    found = facility_location(pool_of(features), 40, rng=_rng())
    coverage = np.maximum.accumulate(np.maximum(features @ features[found].T, 0), axis=1).sum(0, dtype=np.float64)
    assert (np.diff(coverage, 2) < 1e-4).all()
