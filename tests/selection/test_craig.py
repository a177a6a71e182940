from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pools import pool_of, some_features
from shoestring.errors import UserError
from shoestring.selection import Pool, Strategy, select_subset
from shoestring.selection.algorithms import similarity as blocks
from shoestring.selection.methods.craig import craig


def _pool(probabilities: np.ndarray) -> Pool:
    """Images with labels in turn and these probabilities (N, C)."""
    count, classes = probabilities.shape
    plain = pool_of(some_features(count, seed=0), classes=classes)
    signals = replace(plain._signals, probabilities=probabilities.astype(np.float32))
    return Pool(plain.images, lambda: signals)


def _probabilities(count: int, classes: int, *, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(classes, 0.5), count)


def _distances(pool: Pool) -> np.ndarray:
    """Pairwise distances of gradients, by brute force."""
    gradients = pool.probabilities.astype(float) - np.eye(pool.probabilities.shape[1])[pool.labels]
    return np.array([[np.linalg.norm(one - other) for other in gradients] for one in gradients])


def _is_greedy(selected: list[int], distances: np.ndarray) -> bool:
    """Whether no other image would have reduced the sum of distances more, at any step.

    Two images that are only nearest to each other have the same gain, so the greedy ranking is not unique.
    """
    for rank, pick in enumerate(selected):
        candidates = [i for i in range(len(distances)) if i not in selected[:rank]]
        sums = {i: distances[:, [*selected[:rank], i]].min(1).sum() for i in candidates}
        if sums[pick] > min(sums.values()) + 1e-5:
            return False
    return True


@pytest.mark.parametrize("size", [1, 7, 30])
@pytest.mark.parametrize("seed", range(6))
def test_craig_is_greedy_on_gradient_distances(seed, size):
    pool = _pool(_probabilities(30, 4, seed=seed))
    assert _is_greedy(craig(pool, size, rng=np.random.default_rng(0)).tolist(), _distances(pool))


def test_balanced_classes_are_compared_within_each_class():
    pool = _pool(_probabilities(30, 3, seed=9))
    selected = select_subset(pool, 9, Strategy("craig"), balance="equal").indices
    distances = _distances(pool)
    for label in range(3):
        rows = np.flatnonzero(pool.labels == label).tolist()
        own = [rows.index(i) for i in selected if i in rows]
        assert len(own) == 3
        assert _is_greedy(own, distances[np.ix_(rows, rows)])


def test_duplicates_have_no_gain():
    probabilities = np.repeat(_probabilities(4, 3, seed=1), 6, axis=0)
    pool = _pool(probabilities)
    selected = craig(pool, 12, rng=np.random.default_rng(0))  # four kinds, each with three labels
    kinds = {(int(i) // 6, int(pool.labels[i])) for i in selected}
    assert len(kinds) == 12


def test_ties_are_broken_at_random():
    pool = _pool(np.full((20, 1), 1.0))
    assert len({int(craig(pool, 3, rng=np.random.default_rng(seed))[0]) for seed in range(8)}) > 3


def test_large_pools_are_processed_in_blocks(monkeypatch):
    pool = _pool(_probabilities(40, 3, seed=3))
    whole = craig(pool, 12, rng=np.random.default_rng(0))
    monkeypatch.setattr(blocks, "_MAX_CELLS", 90)
    assert craig(pool, 12, rng=np.random.default_rng(0)).tolist() == whole.tolist()


def test_the_error_without_probabilities_names_an_alternative():
    pool = _pool(_probabilities(6, 2, seed=0))
    signals = replace(pool._signals, probabilities=None)
    with pytest.raises(UserError, match="facility_location needs none"):
        craig(Pool(pool.images, lambda: signals), 2, rng=np.random.default_rng(0))
