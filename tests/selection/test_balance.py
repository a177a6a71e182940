from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.errors import UserError
from shoestring.selection import NO_INDICES, Pool, Strategy, select_subset
from shoestring.selection.balance import class_counts, select_per_class
from shoestring.selection.methods.random import random
from shoestring.selection.strategy import BoundMethod

NAMES = ("ant", "bee", "cow")


def _labels(*counts: int) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts)


@pytest.mark.parametrize(
    ("counts", "size", "balance", "expected"),
    [
        ((10, 10, 10), 9, "equal", [3, 3, 3]),
        ((10, 20, 10), 10, "equal", [3, 4, 3]),
        ((10, 20, 30), 6, "proportional", [1, 2, 3]),
        ((1, 20, 79), 10, "proportional", [0, 2, 8]),
        ((5, 5, 5), 15, "equal", [5, 5, 5]),
        ((5, 6, 7), 18, "proportional", [5, 6, 7]),
    ],
)
def test_class_counts(counts, size, balance, expected):
    assert class_counts(_labels(*counts), size, balance=balance, names=NAMES).tolist() == expected


@given(st.lists(st.integers(1, 40), min_size=2, max_size=6), st.data())
def test_counts_add_up_and_differ_from_the_exact_quota_by_less_than_one(counts, data):
    size = data.draw(st.integers(1, sum(counts)))
    names = tuple(map(str, range(len(counts))))
    result = class_counts(_labels(*counts), size, balance="proportional", names=names)
    assert result.sum() == size
    assert all(abs(own - size * have / sum(counts)) < 1 for own, have in zip(result, counts))
    assert all(own <= have for own, have in zip(result, counts))
    if size // len(counts) < min(counts):
        equal = class_counts(_labels(*counts), size, balance="equal", names=names)
        assert equal.sum() == size
        assert equal.max() - equal.min() <= 1


def test_the_error_names_a_class_that_is_too_small():
    with pytest.raises(UserError, match=r"class 'bee' has 2 .* images, but 3 are needed .*--balance proportional"):
        class_counts(_labels(9, 2, 9), 9, balance="equal", names=NAMES)


def test_every_prefix_keeps_the_class_proportions(images):
    pool = Pool(images, lambda: pytest.fail("no signals are needed"))
    provided = {"rng": np.random.default_rng(0), "already": NO_INDICES, "candidates": np.arange(60)}
    selected = select_per_class(BoundMethod(random, {}), pool, np.array([20, 10, 5]), **provided)
    labels = images.targets[selected]
    assert np.bincount(labels).tolist() == [20, 10, 5]
    for size in range(1, 36):
        assert abs(np.bincount(labels[:size], minlength=3) - size * np.array([20, 10, 5]) / 35).max() <= 1


def test_classes_are_balanced_by_default_and_not_with_balance_none(images):
    uneven = images[
        np.flatnonzero((images.targets != 0) | (np.arange(60) < 12))
    ]  # four of class 0, twenty of each other class
    pool = Pool(uneven, lambda: pytest.fail("no signals are needed"))
    assert uneven[select_subset(pool, 12, Strategy("random"))].counts().tolist() == [4, 4, 4]
    assert uneven[select_subset(pool, 11, Strategy("random"), balance="proportional")].counts().tolist() == [1, 5, 5]
    free = select_subset(pool, 11, Strategy("random"), balance="none", seed=3)
    assert free.indices.tolist() == np.random.default_rng(3).permutation(44)[:11].tolist()
    with pytest.raises(UserError, match="class 'class0' has 4"):
        select_subset(pool, 15, Strategy("random"))


@pytest.mark.parametrize("size", [0, 61, -1])
def test_sizes_that_the_pool_cannot_provide_raise_errors(images, size):
    with pytest.raises(UserError, match="there are 60 training images"):
        select_subset(Pool(images, lambda: pytest.fail("too early")), size, Strategy("random"))


def test_unknown_methods_and_options_raise_errors(images):
    pool = Pool(images, lambda: pytest.fail("too early"))
    with pytest.raises(UserError, match="Did you mean 'random'"):
        select_subset(pool, 5, Strategy("randm"))
    with pytest.raises(UserError, match="Did you mean 'swaps'"):
        select_subset(pool, 5, Strategy("diversity", {"swap": 1}))
