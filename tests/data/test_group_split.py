from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.data import group_split
from shoestring.data.group_split import group_codes, group_indices, hold_out_groups
from shoestring.errors import UserError

NAMES = ["class 0", "class 1", "class 2"]


@given(st.integers(6, 30), st.floats(0.02, 0.5), st.integers(0, 2**63 - 1))
def test_groups_stay_together_and_every_class_keeps_images(count, fraction, seed):
    rng = np.random.default_rng(count)
    groups = rng.permutation(np.repeat(np.arange(count), rng.integers(1, 9, count)))
    labels = np.where(np.arange(len(groups)) < 1, 0, groups % 3)  # one group has images of two classes
    size = max(1, round(fraction * len(labels)))
    kept, held = hold_out_groups(labels, groups, size, classes=NAMES, seed=seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, held])), np.arange(len(labels)))
    assert (np.diff(kept) > 0).all() and (np.diff(held) > 0).all()
    assert len(held) and not set(groups[kept]) & set(groups[held])
    assert set(labels[kept]) == set(labels)
    again = hold_out_groups(labels, groups, size, classes=NAMES, seed=seed)[1]
    np.testing.assert_array_equal(held, again)


@pytest.mark.parametrize("size", [400, 200, 30])
@pytest.mark.parametrize("most", [1000, 100])
def test_size_and_classes_are_about_those_requested(size, most, monkeypatch):
    monkeypatch.setattr(group_split, "MAX_STRATIFIED", most)
    groups = np.repeat(np.arange(400), 5)
    labels = groups % 2
    kept, held = hold_out_groups(labels, groups, size, classes=NAMES, seed=1)
    assert size - 5 <= len(held) <= size + 5 and not set(groups[kept]) & set(groups[held])
    assert abs(labels[held].mean() - 0.5) < (0.1 if size > 30 else 0.35)
    again = hold_out_groups(labels, groups, size, classes=NAMES, seed=1)[1]
    np.testing.assert_array_equal(held, again)


def test_groups_with_an_image_to_keep_are_kept():
    groups = np.repeat(np.arange(20), 3)
    labels = groups % 2
    free = np.ones(60, dtype=bool)
    free[::12] = False
    kept, held = hold_out_groups(labels, groups, 12, classes=NAMES, seed=0, free=free)
    assert set(groups[~free]) <= set(groups[kept]) and 9 <= len(held) <= 15


def test_too_few_groups():
    with pytest.raises(UserError, match="too few"):
        hold_out_groups(np.arange(10) % 2, np.zeros(10, dtype=np.int64), 2, classes=NAMES, seed=0)
    with pytest.raises(UserError, match=r"all images of class 'class [01]' are in the same groups"):
        hold_out_groups(np.arange(10) % 2, np.arange(10) % 2, 2, classes=NAMES, seed=0)


def test_an_image_without_a_group_is_one_of_its_own():
    ids = np.array(["a", "b", "c", "d"])
    indices = group_indices(ids, {"a": "x", "c": "x", "b": "c"})
    assert indices.tolist() == [0, 1, 0, 2]


def test_groups_from_python_have_any_type_and_missing_ones_are_alone():
    codes = group_codes(["a", None, "b", "a", float("nan"), None], 6)
    assert codes[0] == codes[3] and len(set(codes.tolist())) == 5
    assert group_codes(np.array([7, 7, 2]), 3).tolist() == [0, 0, 1]
    with pytest.raises(UserError, match=r"groups has shape \(2,\); expected one value for each of 3 images"):
        group_codes([1, 2], 3)
