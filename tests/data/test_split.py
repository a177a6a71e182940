from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.data import Images
from shoestring.data.split import hold_out, make_splits
from shoestring.errors import UserError


def images(labels) -> Images:
    labels = np.array(labels, dtype=np.int64)
    store = np.zeros((len(labels), 2, 2, 1), dtype=np.uint8)
    ids = np.array([str(index) for index in range(len(labels))])
    return Images(store, labels, [f"class {index}" for index in range(labels.max() + 1)], ids, fingerprint="f")


@given(
    counts=st.lists(st.integers(2, 40), min_size=1, max_size=8),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 5),
)
def test_hold_out_is_a_stratified_partition(counts, share, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)) * 3, counts))
    size = round(share * len(labels))
    kept, held = hold_out(labels, size, seed=seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, held])), np.arange(len(labels)))
    assert (np.diff(kept) > 0).all() and (np.diff(held) > 0).all()
    assert len(held) == min(max(size, len(counts)), len(labels) - len(counts))
    given_by = np.bincount(labels[held], minlength=3 * len(counts))[::3]
    assert (given_by >= 1).all() and (given_by < counts).all()
    quota = np.array(counts) * len(held) / len(labels)
    if (quota >= 1).all() and (quota <= np.array(counts) - 1).all():  # otherwise the limits of a class apply
        assert (abs(given_by - quota) < 1).all()


def test_seed_determines_the_split():
    labels = np.repeat([0, 1], 50)
    first, again, other = (hold_out(labels, 20, seed=seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert first.tolist() != other.tolist()


def test_existing_splits_are_unchanged():
    whole = {"train": images([0, 1]), "validation": images([0, 1]), "test": images([0, 1])}
    divided, notes = make_splits(whole, validation=0.1, seed=0)
    assert divided == whole and not notes


def test_missing_splits_are_held_out_without_overlap():
    divided, notes = make_splits({"train": images([0, 1] * 50)}, validation=0.1, seed=3)
    assert {name: len(split) for name, split in divided.items()} == {"train": 72, "validation": 8, "test": 20}
    ids = np.concatenate([split.ids for split in divided.values()])
    assert len(set(ids.tolist())) == 100
    assert len(notes) == 1 and "20 images" in notes[0]


def test_validation_has_at_most_2500_images():
    divided, _ = make_splits({"train": images([0, 1] * 20000), "test": images([0, 1])}, validation=0.5, seed=0)
    assert len(divided["validation"]) == 2500


@pytest.mark.parametrize(
    ("counts", "sizes"),
    [((1, 1), (2, 0, 0)), ((2, 2), (2, 0, 2)), ((3, 3), (2, 2, 2)), ((1, 20), (15, 2, 4)), ((2, 20), (16, 2, 4))],
)
def test_a_class_keeps_its_last_image(counts, sizes):
    train = images([0] * counts[0] + [1] * counts[1])
    divided, notes = make_splits({"train": train}, validation=0.1, seed=0)
    assert tuple(len(divided[name]) for name in ("train", "validation", "test")) == sizes
    assert divided["train"].counts().all()
    assert sorted(np.concatenate([split.ids for split in divided.values()])) == sorted(train.ids)
    absent = {name: (divided[name].counts() == 0).tolist() for name in ("test", "validation")}
    for name, missing in absent.items():
        text = " ".join(note for note in notes if f"hold one out for {name}" in note)
        assert ("no class has enough images" in text) is all(missing)
        assert ("class 0." in text) is (missing == [True, False])
        assert bool(text) is any(missing)


def test_kept_images_are_never_held_out_even_if_that_leaves_none():
    train = images([0, 1] * 5)
    divided, _ = make_splits({"train": train}, validation=0.1, seed=0, keep=np.arange(10))
    assert [len(divided[name]) for name in ("train", "validation", "test")] == [10, 0, 0]
    divided, _ = make_splits({"train": train}, validation=0.5, seed=0, keep=np.arange(4))
    assert set(train.ids[:4]) <= set(divided["train"].ids.tolist()) and len(divided["validation"])


def test_no_validation_images_on_request():
    divided, notes = make_splits({"train": images([0, 1] * 50)}, validation=0, seed=3)
    assert [len(divided[name]) for name in ("train", "validation", "test")] == [80, 0, 20]
    assert not any("validation" in note for note in notes)


@pytest.mark.parametrize("share", [1, -0.1, 1.5])
def test_validation_must_be_a_fraction(share):
    with pytest.raises(UserError, match="from 0 to below 1"):
        make_splits({"train": images([0, 1] * 9)}, validation=share, seed=0)
