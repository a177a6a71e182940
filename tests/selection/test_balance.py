from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.errors import UserError
from shoestring.selection import Pool, choose
from shoestring.selection.balance import per_class, within_classes
from shoestring.selection.methods.random import random
from shoestring.selection.strategy import Strategy

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
def test_shares(counts, size, balance, expected):
    assert per_class(_labels(*counts), size, balance=balance, names=NAMES).tolist() == expected


@given(st.lists(st.integers(1, 40), min_size=2, max_size=6), st.data())
def test_shares_add_up_and_come_as_near_as_they_can(counts, data):
    size = data.draw(st.integers(1, sum(counts)))
    names = tuple(map(str, range(len(counts))))
    wanted = per_class(_labels(*counts), size, balance="proportional", names=names)
    assert wanted.sum() == size
    assert all(abs(want - size * have / sum(counts)) < 1 for want, have in zip(wanted, counts))
    assert all(want <= have for want, have in zip(wanted, counts))
    if size // len(counts) < min(counts):
        equal = per_class(_labels(*counts), size, balance="equal", names=names)
        assert equal.sum() == size
        assert equal.max() - equal.min() <= 1


def test_a_class_that_is_too_small_is_named():
    with pytest.raises(UserError, match=r"class 'bee' has 2 training images, but 3 of it .*--balance proportional"):
        per_class(_labels(9, 2, 9), 9, balance="equal", names=NAMES)


def test_every_prefix_keeps_the_proportions(images):
    pool = Pool(images, lambda: pytest.fail("no signals are needed"))
    chosen = within_classes(Strategy(random, {}), pool, np.array([20, 10, 5]), rng=np.random.default_rng(0))
    labels = images.targets[chosen]
    assert np.bincount(labels).tolist() == [20, 10, 5]
    for size in range(1, 36):
        assert abs(np.bincount(labels[:size], minlength=3) - size * np.array([20, 10, 5]) / 35).max() <= 1


def test_choose_balances_by_default_and_can_leave_it(images):
    uneven = images[np.flatnonzero((images.targets != 0) | (np.arange(60) < 12))]  # four of class 0, twenty of others
    pool = Pool(uneven, lambda: pytest.fail("no signals are needed"))
    assert uneven[choose(pool, 12, method="random")].counts().tolist() == [4, 4, 4]
    assert uneven[choose(pool, 11, method="random", balance="proportional")].counts().tolist() == [1, 5, 5]
    free = choose(pool, 11, method="random", balance="none", seed=3)
    assert free.indices.tolist() == np.random.default_rng(3).permutation(44)[:11].tolist()
    with pytest.raises(UserError, match="class 'class0' has 4"):
        choose(pool, 15, method="random")


@pytest.mark.parametrize("size", [0, 61, -1])
def test_choose_refuses_sizes_that_the_pool_cannot_give(images, size):
    with pytest.raises(UserError, match="there are 60 training images"):
        choose(Pool(images, lambda: pytest.fail("too early")), size, method="random")


def test_choose_refuses_unknown_methods_and_options(images):
    pool = Pool(images, lambda: pytest.fail("too early"))
    with pytest.raises(UserError, match="Did you mean 'random'"):
        choose(pool, 5, method="randm")
    with pytest.raises(UserError, match="Did you mean 'swaps'"):
        choose(pool, 5, method="diversity", options={"swap": 1})
