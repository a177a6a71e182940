from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from pools import pool_of, some_features
from shoestring.errors import UserError
from shoestring.selection import Pool
from shoestring.selection.methods.forgetting import forgetting
from shoestring.selection.methods.window import window

COUNT, CLASSES = 60, 3


def _pool(*, seed: int, noise: float = 0.8) -> Pool:
    """Classes around the axes with noise that grows with difficulty; the final margin is minus the difficulty."""
    rng = np.random.default_rng(seed)
    plain = pool_of(some_features(COUNT, seed=seed), classes=CLASSES)
    hard = rng.permutation(COUNT) / COUNT
    features = np.eye(CLASSES, 6)[plain.labels] + noise * (0.3 + hard[:, None]) * rng.normal(size=(COUNT, 6))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    scores = rng.random((4, COUNT)).astype(np.float32)
    signals = replace(
        plain._signals,
        features=features.astype(np.float32),
        final_margin=-hard,
        margin=rng.normal(size=COUNT),
        forgotten=rng.integers(0, 4, COUNT),
        error=scores,
        gradient=scores[::-1],
    )
    return Pool(plain.images, lambda: signals)


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _accuracy(pool: Pool, selected, ridge: float = 1.0) -> float:
    targets = np.eye(CLASSES)[pool.labels[selected]]
    fitted = Ridge(alpha=ridge, fit_intercept=False).fit(pool.features[selected].astype(float), targets)
    return float((fitted.predict(pool.features.astype(float)).argmax(1) == pool.labels).mean())


@pytest.mark.parametrize("ridge", [0.1, 1.0])
@pytest.mark.parametrize("size", [3, 10, 33])
@pytest.mark.parametrize("seed", range(4))
def test_the_window_with_the_highest_accuracy_wins(seed, size, ridge):
    pool = _pool(seed=seed)
    order = np.argsort(-pool.final_margin)
    windows = [order[at : at + size] for at in range(0, COUNT - size + 1, 6)]
    expected = max(windows, key=lambda selected: _accuracy(pool, selected, ridge))
    assert window(pool, size, rng=_rng(), step=0.1, ridge=ridge).tolist() == expected.tolist()


@pytest.mark.parametrize("seed", range(4))
def test_class_windows_start_at_the_same_fraction(seed):
    pool, counts = _pool(seed=seed), np.array([6, 2, 4])
    orders = [rows[np.argsort(-pool.final_margin[rows])] for rows in _rows(pool)]
    windows = []
    for start in (0, 0.2, 0.4, 0.6, 0.8):
        first = [min(round(start * 20), 20 - count) for count in counts]
        windows.append(np.concatenate([o[f : f + c] for o, f, c in zip(orders, first, counts)]))
    expected = max(windows, key=lambda selected: _accuracy(pool, selected))
    found = window(pool, 12, rng=_rng(), counts=counts, step=0.2)
    assert sorted(found.tolist()) == sorted(expected.tolist())
    for half in (6, 12):
        assert np.bincount(pool.labels[found[:half]], minlength=CLASSES).tolist() == (counts * half // 12).tolist()
    for rows in _rows(pool):
        own = [i for i in found if i in rows]
        assert own == sorted(own, key=lambda i: -pool.final_margin[i])


def _rows(pool: Pool) -> list[np.ndarray]:
    return [np.flatnonzero(pool.labels == label) for label in range(CLASSES)]


def test_all_or_none_of_the_images_of_a_class_can_be_selected():
    pool = _pool(seed=0)
    counts = np.array([20, 0, 5])
    found = window(pool, 25, rng=_rng(), counts=counts)
    assert np.bincount(pool.labels[found], minlength=CLASSES).tolist() == counts.tolist()
    every = window(pool, COUNT, rng=_rng(), counts=np.array([20, 20, 20]))
    assert sorted(every.tolist()) == list(range(COUNT))


@pytest.mark.parametrize("difficulty", ["aum", "forgetting", "el2n", "grand"])
def test_the_difficulty_ranking_is_that_of_the_named_method(difficulty):
    pool = _pool(seed=1)
    found = window(pool, COUNT, rng=_rng(), difficulty=difficulty)
    if difficulty == "forgetting":
        assert found.tolist() == forgetting(pool, COUNT, rng=_rng()).tolist()
    scores = {"aum": -pool.margin, "el2n": pool.error[:2].mean(0), "grand": pool.gradient[:2].mean(0)}
    if difficulty in scores:
        assert found.tolist() == np.argsort(scores[difficulty]).tolist()


def test_ties_go_to_the_easiest_window():
    pool = _pool(seed=2, noise=0.0)  # separable by any window with all classes
    order = np.argsort(-pool.final_margin)
    assert window(pool, 30, rng=_rng()).tolist() == order[:30].tolist()


def test_large_pools_are_classified_in_blocks(monkeypatch):
    whole = window(_pool(seed=3), 9, rng=_rng())
    monkeypatch.setattr(sys.modules[window.__module__], "_ROWS", 7)
    assert window(_pool(seed=3), 9, rng=_rng()).tolist() == whole.tolist()


@pytest.mark.parametrize("options", [{"step": 0.0}, {"step": 1.5}, {"ridge": 0.0}])
def test_options_out_of_range_raise_errors(options):
    with pytest.raises(UserError, match=f"window's {next(iter(options))}"):
        window(_pool(seed=0), 3, rng=_rng(), **options)
