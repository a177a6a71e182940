from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pools import pool_of, some_features
from shoestring.errors import UserError
from shoestring.selection import Pool
from shoestring.selection.methods.d2 import d2


def _pool(features: np.ndarray, margin: np.ndarray) -> Pool:
    pool = pool_of(features)
    signals = replace(pool._signals, final_margin=margin)
    return Pool(pool.images, lambda: signals)


def _slow(features, margin, size, *, hardest: bool, neighbors: int, forward: float, reverse: float) -> list[int]:
    """Brute force over pairs, as in the paper."""
    count = len(features)
    distance = np.linalg.norm(features[:, None].astype(float) - features[None].astype(float), axis=2)
    key = -margin if hardest else margin
    own = [sum(other <= key[i] for other in key) / count for i in range(count)]
    near = [sorted(set(range(count)) - {i}, key=lambda j: distance[i, j])[:neighbors] for i in range(count)]
    score = [own[i] + sum(np.exp(-forward * distance[i, j] ** 2) * own[j] for j in near[i]) for i in range(count)]
    selected: list[int] = []
    while len(selected) < size:
        best = max((i for i in range(count) if i not in selected), key=lambda i: score[i])
        best_score = score[best]
        for j in near[best]:
            score[j] -= np.exp(-reverse * distance[best, j] ** 2) * best_score
        selected.append(best)
    return selected


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("order", "neighbors", "forward", "reverse"), [("easiest", 3, 1.0, 0.5), ("hardest", 5, 0.3, 2.0)]
)
def test_d2_equals_brute_force(seed, order, neighbors, forward, reverse):
    features = some_features(25, seed=seed)
    margin = np.random.default_rng(seed).permutation(25).astype(float)
    options = {"neighbors": neighbors, "forward": forward, "reverse": reverse}
    found = d2(_pool(features, margin), 9, rng=np.random.default_rng(0), order=order, **options)
    assert found.tolist() == _slow(features, margin, 9, hardest=order == "hardest", **options)


def test_an_image_lowers_the_score_of_its_duplicates():
    features = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    found = d2(_pool(features, np.arange(12.0)), 3, rng=np.random.default_rng(0), neighbors=3, reverse=0.0)
    assert sorted(index // 4 for index in found) == [0, 1, 2]


@pytest.mark.parametrize("wrong", [{"neighbors": 0}, {"forward": -1.0}, {"reverse": -0.5}])
def test_options_out_of_range_raise_errors(wrong):
    with pytest.raises(UserError, match="d2's"):
        d2(pool_of(some_features(5, seed=0)), 2, rng=np.random.default_rng(0), **wrong)
