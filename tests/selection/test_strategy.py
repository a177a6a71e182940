from __future__ import annotations

import numpy as np
import pytest

from pools import pool_of, some_features
from shoestring.errors import UserError
from shoestring.selection import NOTHING, Pool, choose
from shoestring.selection.balance import parse, per_class
from shoestring.selection.strategy import Strategy

NAMES = ("ant", "bee", "cow")


def _plain(pool, size, *, rng):
    """The first images."""
    return np.arange(size)


def _told(pool, size, *, rng, already=NOTHING):
    """The first images behind those chosen already."""
    return np.setdiff1d(np.arange(len(pool)), already)[:size]


def _whole(pool, size, *, rng, counts=None):
    """The last images of each class."""
    if counts is None:
        return np.arange(size)
    return np.concatenate([np.flatnonzero(pool.labels == label)[::-1][:count] for label, count in enumerate(counts)])


@pytest.mark.parametrize("method", [_plain, _told])
def test_what_is_chosen_already_is_never_chosen_again(method):
    pool, rng = pool_of(some_features(9, seed=0)), np.random.default_rng(0)
    found = Strategy(method, {})(pool, 4, rng=rng, already=np.array([0, 2, 5]))
    assert found.tolist() == [1, 3, 4, 6]


def test_a_method_that_asks_for_it_sees_what_is_chosen_already():
    seen = []

    def method(pool, size, *, rng, already=NOTHING):
        seen.append((len(pool), already.tolist()))
        return _told(pool, size, rng=rng, already=already)

    pool = pool_of(some_features(9, seed=0), margins=-np.arange(9.0))
    found = Strategy(method, {}, within="hardest:0.5")(pool, 2, rng=np.random.default_rng(0), already=np.array([8, 3]))
    assert seen == [(6, [5, 0])]  # of the nine the last five, which are the hardest, and what is chosen already
    assert found.tolist() == [4, 5]


def test_a_method_that_asks_for_counts_sees_all_classes_at_once():
    pool = pool_of(some_features(9, seed=0), classes=3, margins=-np.arange(9.0))
    chosen = Strategy(_whole, {})(pool, 3, rng=np.random.default_rng(0), counts=np.array([2, 0, 1]))
    assert chosen.tolist() == [6, 3, 8]
    part = Strategy(_whole, {}, within="easiest:0.67")
    assert part(pool, 3, rng=np.random.default_rng(0), counts=np.array([2, 0, 1])).tolist() == [6, 3, 8]
    assert part(pool, 3, rng=np.random.default_rng(0), counts=np.array([1, 1, 1])).tolist() == [6, 7, 8]


def test_images_chosen_already_come_first_and_count(images):
    pool = Pool(images, lambda: pytest.fail("no signals are needed"))
    before = choose(pool, 6, method="random", balance="none", seed=1)
    after = choose(pool, 30, method="random", already=before.indices, seed=2)
    assert after.indices[:6].tolist() == before.indices.tolist()
    assert after.kept == 6 and after[:4].kept == 4
    assert len(set(after.indices.tolist())) == 30
    assert images[after].counts().tolist() == [10, 10, 10]
    for size in (5, 6):
        with pytest.raises(UserError, match="6 images are chosen already"):
            choose(pool, size, method="random", already=before.indices)


def test_images_that_are_left_out_are_not_chosen(images):
    pool = Pool(images, lambda: pytest.fail("no signals are needed"))
    out = np.arange(0, 60, 4)
    chosen = choose(pool, 45, method="random", balance="none", left_out=out)
    assert chosen.left_out == 15
    assert sorted(chosen.indices.tolist()) == np.setdiff1d(np.arange(60), out).tolist()
    with pytest.raises(UserError, match="there are 45 training images when 15 are left out"):
        choose(pool, 46, method="random", balance="none", left_out=out)


@pytest.mark.parametrize(
    ("already", "size", "balance", "expected"),
    [
        ([0, 1], 9, "equal", [1, 3, 3]),
        ([0, 1, 2, 3, 4, 5], 9, "equal", [0, 2, 1]),  # six ants are more than their share; the others have what is left
        ([0], 9, "ant=5", [4, 2, 2]),
        ([], 9, "ant=5, bee=4, cow=0", [5, 4, 0]),
        ([], 9, "cow=1", [4, 4, 1]),
        ([10, 11], 6, "proportional", [2, 0, 2]),
    ],
)
def test_numbers_of_new_images(already, size, balance, expected):
    labels, before = np.repeat([0, 1, 2], 10), np.array(already, dtype=np.int64)
    assert per_class(labels, size, balance=balance, names=NAMES, already=before).tolist() == expected


@pytest.mark.parametrize(
    ("balance", "told"),
    [
        ("equall", "Did you mean 'equal'"),
        ("ant", "cat=50,dog=20"),
        ("ant=x", "not a class and its number"),
        ("ant=-1", "not a class and its number"),
        ("ant=1,ant=2", "not a class and its number"),
        ("=3", "not a class and its number"),
    ],
)
def test_a_balance_that_cannot_be_read_is_refused(balance, told):
    with pytest.raises(UserError, match=told):
        parse(balance)


@pytest.mark.parametrize(
    ("balance", "told"),
    [
        ("Bee=3", "Did you mean 'bee'"),
        ("ant=10", "add up to 10, and 9"),
        ("ant=1,bee=1,cow=1", "add up to 3, and 9"),
        ("ant=8", "class 'ant' has 5 training images, but 8"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(balance, told):
    with pytest.raises(UserError, match=told):
        per_class(np.repeat([0, 1, 2], [5, 9, 9]), 9, balance=balance, names=NAMES)


def test_a_class_may_have_a_name_with_an_equals_sign():
    assert parse("a=b=3,c=2") == {"a=b": 3, "c": 2}


def test_methods_that_need_labels_say_so_where_there_are_none(images):
    from shoestring.data.images import Images

    blank = Images(images.pixels, None, (), images.ids, fingerprint="none")
    pool = Pool(blank, lambda: pytest.fail("no signals are needed"), lambda: some_features(60, seed=0))
    assert len(choose(pool, 5, method="facility_location")) == 5
    with pytest.raises(UserError, match="needs labels"):
        _ = pool.labels
