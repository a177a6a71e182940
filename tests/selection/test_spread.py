"""Diversity methods: k-center, log-determinant, graph cut."""

from __future__ import annotations

import numpy as np
import pytest

from pools import brute_force, pool_of, some_features, unit
from shoestring.errors import UserError
from shoestring.selection.methods.graph_cut import graph_cut
from shoestring.selection.methods.k_center import k_center
from shoestring.selection.methods.log_det import log_det


@pytest.mark.parametrize("seed", range(6))
def test_k_center_takes_the_image_farthest_from_all_selected(seed):
    features = some_features(30, seed=seed).astype(np.float64)
    distances = np.linalg.norm(features[:, None] - features[None], axis=2)
    first = int(np.linalg.norm(features - features.mean(0), axis=1).argmin())
    selected = [first]
    while len(selected) < 5:
        selected.append(int(distances[:, selected].min(1).argmax()))
    found = k_center(pool_of(features.astype(np.float32)), 5, rng=np.random.default_rng(0))
    assert found.tolist() == selected


def test_k_center_selects_outliers_last():
    ring = [[1, 0.1 * np.cos(angle), 0.1 * np.sin(angle)] for angle in range(18)]
    features = unit([*ring, [-1, 0, 0.1], [-1, 0.1, 0]])
    plain = k_center(pool_of(features), 3, rng=np.random.default_rng(0))
    assert plain[1] >= 18
    robust = k_center(pool_of(features), 20, rng=np.random.default_rng(0), outliers=0.1)
    assert set(robust[18:].tolist()) == {18, 19}
    with pytest.raises(UserError, match="k_center's outliers"):
        k_center(pool_of(features), 3, rng=np.random.default_rng(0), outliers=1.0)


def test_k_center_returns_its_first_image_first():
    """Two tight groups and a point between them: the first is in the middle, then comes one of each group."""
    angles = np.array([0.0, 0.02, 0.04, 1.0, 2.0, 2.02])
    features = unit(np.stack([np.cos(angles), np.sin(angles)], 1))
    found = k_center(pool_of(features), 3, rng=np.random.default_rng(0))
    assert found[0] == 3
    assert set(found[1:].tolist()) == {0, 5}


@pytest.mark.parametrize("seed", range(6))
def test_log_det_equals_brute_force_after_its_first_image(seed):
    features = some_features(30, seed=seed)
    table = features.astype(np.float64) @ features.T + 1e-3 * np.eye(30)
    found = log_det(pool_of(features), 5, rng=np.random.default_rng(seed)).tolist()
    expected = brute_force(
        lambda selected: np.linalg.slogdet(table[np.ix_(selected, selected)])[1], 30, 5, given=(found[0],)
    )
    assert found == expected


def test_log_det_selects_duplicates_last():
    features = np.concatenate([np.repeat(np.eye(4), 10, axis=0), some_features(3, seed=0, dimensions=4)])
    near = unit(features + 1e-5 * some_features(43, seed=1, dimensions=4))
    found = log_det(pool_of(near), 4, rng=np.random.default_rng(0))
    table = near[found] @ near[found].T
    assert np.abs(table - np.eye(4)).max() < 0.9
    assert np.linalg.slogdet(table.astype(np.float64))[1] > -3


def test_log_det_works_with_more_images_than_dimensions():
    features = some_features(300, seed=0, dimensions=4)
    found = log_det(pool_of(features), 300, rng=np.random.default_rng(0))
    assert sorted(found.tolist()) == list(range(300))


@pytest.mark.parametrize("weight", [0.0, 0.5, 5.0])
@pytest.mark.parametrize("seed", range(4))
def test_graph_cut_equals_brute_force(seed, weight):
    features = some_features(30, seed=seed)
    table = features.astype(np.float64) @ features.T

    def value(selected: list[int]) -> float:
        return table[:, selected].sum() - weight * table[np.ix_(selected, selected)].sum()

    found = graph_cut(pool_of(features), 5, rng=np.random.default_rng(0), weight=weight)
    assert found.tolist() == brute_force(value, 30, 5)
