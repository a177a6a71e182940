from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shoestring.data import from_arrays
from shoestring.data.group_split import hold_out_groups
from shoestring.data.label_split import hold_out_labels
from shoestring.data.split import hold_out_validation, make_splits


@given(
    arrays(np.int64, st.tuples(st.integers(4, 30), st.integers(2, 6)), elements=st.integers(0, 1)), st.integers(1, 9)
)
def test_labels_stay_in_training(labels, size):
    held = hold_out_labels(labels, size, seed=0)
    kept = np.setdiff1d(np.arange(len(labels)), held)
    assert (np.sort(held) == held).all() and len(np.unique(held)) == len(held)
    assert ((labels[kept].sum(0) > 0) == (labels.sum(0) > 0)).all()
    assert np.array_equal(held, hold_out_labels(labels, size, seed=0))


def test_labels_are_stratified():
    rng = np.random.default_rng(0)
    labels = (rng.random((2000, 5)) < [0.5, 0.2, 0.05, 0.01, 0.002]).astype(np.int64)
    held = hold_out_labels(labels, 400, seed=1)
    assert abs(len(held) - 400) < 20
    wanted = labels.sum(0) / 5
    assert (np.abs(labels[held].sum(0) - wanted) <= 1 + 0.02 * wanted).all()
    assert not np.array_equal(held, hold_out_labels(labels, 400, seed=2))


def test_images_are_held_out_by_their_labels():
    labels = np.zeros((40, 2), np.int64)
    labels[:4, 0], labels[4, 1] = 1, 1  # the second label has one image
    data = from_arrays(np.zeros((40, 3, 3), np.uint8), labels, classes=["cat", "dog"], validation=0)
    splits, notes = make_splits({"train": data.train}, validation=0.2, seed=0)
    assert [splits[name].counts().tolist() for name in ("train", "validation", "test")] == [[2, 1], [1, 0], [1, 0]]
    assert sum(map(len, splits.values())) == 40
    assert notes == [
        "there is no test split: 8 images, a fifth of each label, were held out.",
        "labels with too few images to hold one out for test: dog.",
        "labels with too few images to hold one out for validation: dog.",
    ]
    kept, held = hold_out_validation(data.train, 0.25, seed=0)
    assert held is not None and len(held) == 10 and kept.counts().tolist() == [3, 1]
    only = hold_out_validation(data.train[[0, 4]], 0.5, seed=0)
    assert len(only[0]) == 2 and only[1] is None


def test_groups_stay_together():
    rng = np.random.default_rng(0)
    groups, labels = np.arange(120) // 4, rng.integers(0, 2, (120, 3))
    kept, held = hold_out_groups(labels, groups, 24, classes=["a", "b", "c"], seed=0)
    assert not set(groups[kept]) & set(groups[held]) and len(held) == 24
    assert labels[held].any(0).all() and np.abs(labels[held].sum(0) - labels.sum(0) / 5).max() <= 4
