from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pools import pool_of, some_features
from shoestring.errors import UserError
from shoestring.selection import Pool, choose
from shoestring.selection.algorithms import similarity as blocks
from shoestring.selection.methods.craig import craig


def _pool(probabilities: np.ndarray) -> Pool:
    """Images whose labels go round, with these probabilities (N, C)."""
    count, classes = probabilities.shape
    plain = pool_of(some_features(count, seed=0), classes=classes)
    signals = replace(plain._signals, probabilities=probabilities.astype(np.float32))
    return Pool(plain.images, lambda: signals)


def _shares(count: int, classes: int, *, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(classes, 0.5), count)


def _distances(pool: Pool) -> np.ndarray:
    """Between whole gradients, image by image."""
    gradients = pool.probabilities.astype(float) - np.eye(pool.probabilities.shape[1])[pool.labels]
    return np.array([[np.linalg.norm(one - other) for other in gradients] for one in gradients])


def _is_greedy(found: list[int], distances: np.ndarray) -> bool:
    """Whether no other image would have lowered the sum of distances more, at any step.

    Two images that are each other's nearest only add the same, so that the greedy ranking is not the only one.
    """
    for place, pick in enumerate(found):
        left = [i for i in range(len(distances)) if i not in found[:place]]
        sums = {i: distances[:, [*found[:place], i]].min(1).sum() for i in left}
        if sums[pick] > min(sums.values()) + 1e-5:
            return False
    return True


@pytest.mark.parametrize("size", [1, 7, 30])
@pytest.mark.parametrize("seed", range(6))
def test_craig_is_the_slow_greedy_on_distances_of_gradients(seed, size):
    pool = _pool(_shares(30, 4, seed=seed))
    assert _is_greedy(craig(pool, size, rng=np.random.default_rng(0)).tolist(), _distances(pool))


def test_where_classes_are_balanced_images_are_compared_within_their_class():
    pool = _pool(_shares(30, 3, seed=9))
    chosen = choose(pool, 9, method="craig", balance="equal").indices
    distances = _distances(pool)
    for label in range(3):
        rows = np.flatnonzero(pool.labels == label).tolist()
        own = [rows.index(i) for i in chosen if i in rows]
        assert len(own) == 3
        assert _is_greedy(own, distances[np.ix_(rows, rows)])


def test_a_duplicate_adds_nothing():
    shares = np.repeat(_shares(4, 3, seed=1), 6, axis=0)
    pool = _pool(shares)
    found = craig(pool, 12, rng=np.random.default_rng(0))  # four kinds, each with three labels
    kinds = {(int(i) // 6, int(pool.labels[i])) for i in found}
    assert len(kinds) == 12


def test_ties_go_by_the_seed():
    pool = _pool(np.full((20, 1), 1.0))
    assert len({int(craig(pool, 3, rng=np.random.default_rng(seed))[0]) for seed in range(8)}) > 3


def test_large_pools_are_taken_in_parts(monkeypatch):
    pool = _pool(_shares(40, 3, seed=3))
    whole = craig(pool, 12, rng=np.random.default_rng(0))
    monkeypatch.setattr(blocks, "_CELLS", 90)
    assert craig(pool, 12, rng=np.random.default_rng(0)).tolist() == whole.tolist()


def test_without_probabilities_it_says_what_would_do():
    pool = _pool(_shares(6, 2, seed=0))
    signals = replace(pool._signals, probabilities=None)
    with pytest.raises(UserError, match="facility_location does not"):
        craig(Pool(pool.images, lambda: signals), 2, rng=np.random.default_rng(0))
