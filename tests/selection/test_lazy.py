"""Scores that are made exact only for those that might lead are still those of the slow greedy."""

from __future__ import annotations

import numpy as np
import pytest

from pools import pool_of, some_features, unit
from shoestring.selection.algorithms import lazy
from shoestring.selection.methods.graph_cut import graph_cut
from shoestring.selection.methods.k_center import k_center


@pytest.fixture(params=[(3, 2), (64, 16), (1, 1)])
def _lags(request, monkeypatch):
    lag, batch = request.param
    monkeypatch.setattr(lazy, "_LAG", lag)
    monkeypatch.setattr(lazy, "_BATCH", batch)


def _images(sign: str) -> np.ndarray:
    features = some_features(150, seed=0, dimensions=16)
    return features if sign == "both signs" else unit(np.abs(features))


@pytest.mark.parametrize("sign", ["both signs", "none negative"])
def test_k_center_over_many_steps(sign, _lags):
    features = _images(sign)
    cosines = features.astype(np.float64) @ features.T
    found = k_center(pool_of(features), 100, rng=np.random.default_rng(0))
    for place in range(1, 100):
        nearest = cosines[:, found[:place]].max(1)
        nearest[found[:place]] = np.inf
        assert nearest[found[place]] < nearest.min() + 3e-6


@pytest.mark.parametrize("weight", [0.5, 20.0])
@pytest.mark.parametrize("sign", ["both signs", "none negative"])
def test_graph_cut_over_many_steps(sign, weight, _lags):
    features = _images(sign)
    cosines = features.astype(np.float64) @ features.T
    found = graph_cut(pool_of(features), 100, rng=np.random.default_rng(0), weight=weight)
    for place in range(100):
        gains = cosines.sum(0) - 2 * weight * cosines[:, found[:place]].sum(1)
        gains[found[:place]] = -np.inf
        assert gains[found[place]] > gains.max() - 1e-4
