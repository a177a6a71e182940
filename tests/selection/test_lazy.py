"""Lazy evaluation gives the same results as brute force."""

from __future__ import annotations

import numpy as np
import pytest

from pools import pool_of, some_features, unit
from shoestring.selection.algorithms import lazy
from shoestring.selection.methods.graph_cut import graph_cut
from shoestring.selection.methods.k_center import k_center


@pytest.fixture(params=[(3, 2), (64, 16), (1, 1)])
def _batch_sizes(request, monkeypatch):
    pending, batch = request.param
    monkeypatch.setattr(lazy, "_MAX_PENDING", pending)
    monkeypatch.setattr(lazy, "_BATCH", batch)


def _features(sign: str) -> np.ndarray:
    features = some_features(150, seed=0, dimensions=16)
    return features if sign == "both signs" else unit(np.abs(features))


@pytest.mark.parametrize("sign", ["both signs", "none negative"])
def test_k_center_is_exact_over_many_steps(sign, _batch_sizes):
    features = _features(sign)
    cosines = features.astype(np.float64) @ features.T
    found = k_center(pool_of(features), 100, rng=np.random.default_rng(0))
    for rank in range(1, 100):
        nearest = cosines[:, found[:rank]].max(1)
        nearest[found[:rank]] = np.inf
        assert nearest[found[rank]] < nearest.min() + 3e-6


@pytest.mark.parametrize("weight", [0.5, 20.0])
@pytest.mark.parametrize("sign", ["both signs", "none negative"])
def test_graph_cut_is_exact_over_many_steps(sign, weight, _batch_sizes):
    features = _features(sign)
    cosines = features.astype(np.float64) @ features.T
    found = graph_cut(pool_of(features), 100, rng=np.random.default_rng(0), weight=weight)
    for rank in range(100):
        gains = cosines.sum(0) - 2 * weight * cosines[:, found[:rank]].sum(1)
        gains[found[:rank]] = -np.inf
        assert gains[found[rank]] > gains.max() - 1e-4
