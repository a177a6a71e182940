from __future__ import annotations

import numpy as np
import pytest

from pools import pool_of, some_features
from shoestring.config.balance import parse_balance
from shoestring.config.difficulty import Difficulty
from shoestring.errors import UserError
from shoestring.selection import NO_INDICES, Pool, Strategy, select_subset
from shoestring.selection.balance import class_counts
from shoestring.selection.strategy import BoundMethod

NAMES = ("ant", "bee", "cow")


def _plain(pool, size, *, rng):
    """The first images."""
    return np.arange(size)


def _with_already(pool, size, *, rng, already=NO_INDICES):
    """The first images that are not selected already."""
    return np.setdiff1d(np.arange(len(pool)), already)[:size]


def _with_counts(pool, size, *, rng, counts=None):
    """The last images of each class."""
    if counts is None:
        return np.arange(size)
    return np.concatenate([np.flatnonzero(pool.labels == label)[::-1][:count] for label, count in enumerate(counts)])


@pytest.mark.parametrize("method", [_plain, _with_already])
def test_images_selected_before_are_never_selected_again(method):
    pool, rng = pool_of(some_features(9, seed=0)), np.random.default_rng(0)
    found = BoundMethod(method, {})(pool, 4, rng=rng, already=np.array([0, 2, 5]))
    assert found.tolist() == [1, 3, 4, 6]


def test_a_method_that_declares_already_gets_the_images_selected_before():
    seen = []

    def method(pool, size, *, rng, already=NO_INDICES):
        seen.append((len(pool), already.tolist()))
        return _with_already(pool, size, rng=rng, already=already)

    pool = pool_of(some_features(9, seed=0), margins=-np.arange(9.0))
    found = BoundMethod(method, {}, within=Difficulty.parse("hardest:0.5"))(
        pool, 2, rng=np.random.default_rng(0), already=np.array([8, 3])
    )
    assert seen == [(6, [5, 0])]  # the hardest five of nine, and the images selected before
    assert found.tolist() == [4, 5]


def test_a_method_that_declares_counts_gets_all_classes_at_once():
    pool = pool_of(some_features(9, seed=0), classes=3, margins=-np.arange(9.0))
    selected = BoundMethod(_with_counts, {})(pool, 3, rng=np.random.default_rng(0), counts=np.array([2, 0, 1]))
    assert selected.tolist() == [6, 3, 8]
    part = BoundMethod(_with_counts, {}, within=Difficulty.parse("easiest:0.67"))
    assert part(pool, 3, rng=np.random.default_rng(0), counts=np.array([2, 0, 1])).tolist() == [6, 3, 8]
    assert part(pool, 3, rng=np.random.default_rng(0), counts=np.array([1, 1, 1])).tolist() == [6, 7, 8]


def test_indices_are_those_of_the_pool_with_everything_at_once():
    """With some candidates only, images selected before and a difficulty range."""
    seen = []

    def method(pool, size, *, rng, already=NO_INDICES):
        seen.append((pool.final_margin.tolist(), already.tolist()))
        return _with_already(pool, size, rng=rng, already=already)

    pool = pool_of(some_features(12, seed=0), margins=-np.arange(12.0))
    candidates, before = np.array([1, 3, 5, 6, 8, 9, 10, 11]), np.array([11, 3])
    arguments = {"rng": np.random.default_rng(0), "already": before, "candidates": candidates}
    selected = BoundMethod(method, {}, within=Difficulty.parse("hardest:0.5"))(pool, 2, **arguments)
    assert seen == [([-3.0, -8.0, -9.0, -10.0, -11.0], [4, 0])]
    assert selected.tolist() == [8, 9]


def test_every_class_needs_enough_new_images_in_the_range():
    pool = pool_of(some_features(12, seed=0), classes=2, margins=-np.arange(12.0))
    arguments = {"rng": np.random.default_rng(0), "already": np.array([0, 2]), "counts": np.array([2, 1])}
    with pytest.raises(UserError, match="leaves 1 new images, but 2 are to be selected"):
        BoundMethod(_with_counts, {}, within=Difficulty.parse("easiest:0.5"))(pool, 3, **arguments)


def test_images_selected_before_come_first_and_count(images):
    pool = Pool(images, lambda: pytest.fail("no signals are needed"))
    before = select_subset(pool, 6, Strategy("random"), balance="none", seed=1)
    after = select_subset(pool, 30, Strategy("random"), already=before.indices, seed=2)
    assert after.indices[:6].tolist() == before.indices.tolist()
    assert after.kept == 6 and after[:4].kept == 4
    assert len(set(after.indices.tolist())) == 30
    assert images[after].counts().tolist() == [10, 10, 10]
    for size in (5, 6):
        with pytest.raises(UserError, match="6 images have been selected already"):
            select_subset(pool, size, Strategy("random"), already=before.indices)


def test_excluded_images_are_not_selected(images):
    pool = Pool(images, lambda: pytest.fail("no signals are needed"))
    excluded = np.arange(0, 60, 4)
    subset = select_subset(pool, 45, Strategy("random"), balance="none", excluded=excluded)
    assert subset.left_out == 15
    assert sorted(subset.indices.tolist()) == np.setdiff1d(np.arange(60), excluded).tolist()
    with pytest.raises(UserError, match="there are 45 training images when 15 are excluded"):
        select_subset(pool, 46, Strategy("random"), balance="none", excluded=excluded)


@pytest.mark.parametrize(
    ("already", "size", "balance", "expected"),
    [
        ([0, 1], 9, "equal", [1, 3, 3]),
        ([0, 1, 2, 3, 4, 5], 9, "equal", [0, 2, 1]),  # six ants are above their count; the others divide the rest
        ([0], 9, "ant=5", [4, 2, 2]),
        ([], 9, "ant=5, bee=4, cow=0", [5, 4, 0]),
        ([], 9, "cow=1", [4, 4, 1]),
        ([10, 11], 6, "proportional", [2, 0, 2]),
    ],
)
def test_numbers_of_new_images_per_class(already, size, balance, expected):
    labels, before = np.repeat([0, 1, 2], 10), np.array(already, dtype=np.int64)
    assert (
        class_counts(labels, size, balance=parse_balance(balance), names=NAMES, already=labels[before]).tolist()
        == expected
    )


@pytest.mark.parametrize(
    ("balance", "message"),
    [
        ("equall", "Did you mean 'equal'"),
        ("ant", "cat=50,dog=20"),
        ("ant=x", "not a class with a number"),
        ("ant=-1", "not a class with a number"),
        ("ant=1,ant=2", "not a class with a number"),
        ("=3", "not a class with a number"),
    ],
)
def test_an_invalid_balance_raises_an_error(balance, message):
    with pytest.raises(UserError, match=message):
        parse_balance(balance)


@pytest.mark.parametrize(
    ("balance", "message"),
    [
        ("Bee=3", "Did you mean 'bee'"),
        ("ant=10", "add up to 10, but --examples is 9"),
        ("ant=1,bee=1,cow=1", "add up to 3, but --examples is 9"),
        ("ant=8", "class 'ant' has 5 training images, but 8"),
    ],
)
def test_numbers_that_do_not_fit_raise_errors(balance, message):
    with pytest.raises(UserError, match=message):
        class_counts(np.repeat([0, 1, 2], [5, 9, 9]), 9, balance=parse_balance(balance), names=NAMES)


def test_a_class_name_may_contain_an_equals_sign():
    assert parse_balance("a=b=3,c=2") == {"a=b": 3, "c": 2}


def test_methods_that_need_labels_raise_an_error_without_them(images):
    from shoestring.data.images import Images

    blank = Images(images.pixels, None, (), images.ids, fingerprint="none")
    pool = Pool(blank, lambda: pytest.fail("no signals are needed"), lambda: some_features(60, seed=0))
    assert len(select_subset(pool, 5, Strategy("facility_location"))) == 5
    with pytest.raises(UserError, match="needs labels"):
        _ = pool.labels
