from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from shoestring.errors import UserError
from shoestring.selection import Pool, Signals
from shoestring.selection.methods.diversity import diversity
from shoestring.selection.methods.forgetting import forgetting
from shoestring.selection.methods.margin import margin
from shoestring.selection.methods.random import random


def _signals(count: int, rng: np.random.Generator, *, dimensions: int = 3) -> Signals:
    features = rng.normal(size=(count, dimensions))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    learned = rng.random(count) < 0.8
    forgotten = np.where(learned, rng.integers(0, 3, count), 0)
    return Signals(
        features.astype(np.float32),
        forgotten,
        learned,
        rng.integers(-2, 3, count).astype(float),
        rng.integers(-2, 3, count).astype(float),
    )


def _pool(images, signals: Signals) -> Pool:
    return Pool(images[: len(signals.margin)], lambda: signals)


def _brute_force_forgetting(signals: Signals, tie: np.ndarray, order: str) -> list[int]:
    """Selection sort by brute force."""
    left, found = list(range(len(tie))), []

    def key(i: int) -> tuple[float, float, float]:
        events = signals.forgotten[i] if signals.learned[i] else float("inf")
        sign = 1 if order == "easiest" else -1
        return sign * events, -sign * signals.margin[i], tie[i]

    while left:
        best = left[0]
        for i in left:
            if key(i) < key(best):
                best = i
        found.append(best)
        left.remove(best)
    return found


@pytest.mark.parametrize("order", ["easiest", "hardest"])
@pytest.mark.parametrize("seed", range(5))
def test_forgetting_equals_brute_force(images, order, seed):
    signals = _signals(40, np.random.default_rng(seed))
    tie = np.random.default_rng(99).random(40)
    found = forgetting(_pool(images, signals), 40, rng=np.random.default_rng(99), order=order)
    assert found.tolist() == _brute_force_forgetting(signals, tie, order)
    prefix = forgetting(_pool(images, signals), 7, rng=np.random.default_rng(99), order=order)
    assert prefix.tolist() == found[:7].tolist()


def test_images_never_learned_count_as_forgotten_most(images):
    signals = Signals(
        np.ones((4, 1), dtype=np.float32),
        np.array([5, 0, 1, 0]),
        np.array([True, False, True, True]),
        np.array([0.0, 9.0, 0.0, 0.0]),
        np.zeros(4),
    )
    pool, rng = _pool(images, signals), np.random.default_rng(0)
    assert forgetting(pool, 4, rng=rng).tolist() == [3, 2, 0, 1]
    assert forgetting(pool, 4, rng=rng, order="hardest").tolist() == [1, 0, 2, 3]


def test_among_draws_from_more_of_the_easy_images(images):
    rng = np.random.default_rng(1)
    signals = replace(_signals(30, rng), final_margin=rng.permutation(30).astype(float))
    pool = _pool(images, signals)
    for order, worth in (("easiest", -signals.final_margin), ("hardest", signals.final_margin)):
        easy = set(np.argsort(worth)[:15].tolist())
        found = [margin(pool, 6, rng=np.random.default_rng(seed), order=order, among=2.5) for seed in range(40)]
        assert set(np.concatenate(found).tolist()) == easy
        assert all(len(set(one.tolist())) == 6 for one in found)
    assert sorted(margin(pool, 30, rng=np.random.default_rng(0), among=3).tolist()) == list(range(30))
    with pytest.raises(UserError, match="among must be at least 1, not"):
        margin(pool, 6, rng=np.random.default_rng(0), among=0.5)


def test_ties_in_forgetting_are_broken_by_margin_and_then_at_random(images):
    equal = Signals(
        np.ones((30, 1), dtype=np.float32), np.zeros(30, int), np.ones(30, bool), np.zeros(30), np.zeros(30)
    )
    orders = {tuple(forgetting(_pool(images, equal), 30, rng=np.random.default_rng(seed))) for seed in range(3)}
    assert len(orders) == 3
    margins = Signals(equal.features, equal.forgotten, equal.learned, np.arange(30.0), np.zeros(30))
    assert forgetting(_pool(images, margins), 3, rng=np.random.default_rng(0)).tolist() == [29, 28, 27]


@pytest.mark.parametrize(("order", "expected"), [("easiest", [2, 0, 3, 1]), ("hardest", [1, 3, 0, 2])])
def test_margin_ranks_by_the_final_margin(images, order, expected):
    equal = Signals(np.ones((4, 1), dtype=np.float32), np.zeros(4, int), np.ones(4, bool), np.arange(4.0), np.zeros(4))
    signals = replace(equal, final_margin=np.array([1.0, -2.0, 3.5, 0.0]))
    assert margin(_pool(images, signals), 4, rng=np.random.default_rng(0), order=order).tolist() == expected
    ties = {tuple(margin(_pool(images, equal), 4, rng=np.random.default_rng(seed), order=order)) for seed in range(9)}
    assert len(ties) > 3


def _spread(features: np.ndarray, selected) -> float:
    """Sum of pairwise cosine distances, by brute force."""
    return sum(1 - float(features[i] @ features[j]) for i, j in combinations(selected, 2))


def test_diversity_is_close_to_optimal(images):
    ratios = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        count, size = int(rng.integers(6, 13)), int(rng.integers(2, 5))
        signals = _signals(count, rng, dimensions=4)
        features = signals.features.astype(np.float64)
        selected = diversity(_pool(images, signals), size, rng=rng)
        assert len(set(selected.tolist())) == size
        found = _spread(features, selected)
        ratios.append(found / max(_spread(features, some) for some in combinations(range(count), size)))
        for position in range(size):  # no single swap improves it
            others = np.delete(selected, position)
            assert all(_spread(features, [*others, i]) <= found + 1e-6 for i in range(count) if i not in selected)
    assert np.mean(ratios) > 0.98
    assert np.mean(np.array(ratios) > 0.99) > 0.6


def test_the_closed_form_of_the_sum_over_pairs():
    features = _signals(20, np.random.default_rng(0)).features.astype(np.float64)
    total = features.sum(0)
    assert (20**2 - total @ total) / 2 == pytest.approx(_spread(features, range(20)), rel=1e-6)


def test_swaps_never_make_a_selection_worse(images):
    for seed in range(10):
        signals = _signals(50, np.random.default_rng(seed))
        greedy, better = (
            _spread(signals.features, diversity(_pool(images, signals), 6, rng=np.random.default_rng(1), swaps=swaps))
            for swaps in (0, 100)
        )
        assert better >= greedy - 1e-6


def test_random_is_a_permutation_and_needs_no_signals(images):
    def refuse() -> Signals:
        raise AssertionError("random needs no proxy")

    found = random(Pool(images, refuse), len(images), rng=np.random.default_rng(0))
    assert sorted(found.tolist()) == list(range(len(images)))
    assert found.tolist() != sorted(found.tolist())
