from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoestring.data import folds as module
from shoestring.data import load
from shoestring.data.folds import fold_numbers
from shoestring.errors import UserError

CLASSES = ["cat", "dog", "fox"]


@given(st.integers(2, 7), st.integers(0, 2**63 - 1))
def test_every_fold_has_a_similar_number_of_images_of_each_class(count, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat([0, 1, 2], [7, 23, 40]))
    numbers = fold_numbers(labels, count, classes=CLASSES, seed=seed)
    for label in range(3):
        sizes = np.bincount(numbers[labels == label], minlength=count)
        assert sizes.max() - sizes.min() <= 1
    np.testing.assert_array_equal(numbers, fold_numbers(labels, count, classes=CLASSES, seed=seed))


@pytest.mark.parametrize("most", [1000, 10])
def test_groups_stay_together(most, monkeypatch):
    monkeypatch.setattr(module, "MAX_STRATIFIED", most)
    groups = np.repeat(np.arange(60), 3)
    labels = groups % 3
    numbers = fold_numbers(labels, 4, classes=CLASSES, seed=0, groups=groups)
    assert all(len(set(numbers[groups == group])) == 1 for group in range(60))
    assert np.bincount(numbers).tolist() == [45] * 4


@pytest.mark.parametrize(
    ("labels", "groups", "message"),
    [
        ([0] * 9 + [1] * 3, None, "class 'dog' has 3 images, fewer than the 5 folds: use --folds 3"),
        ([0] * 9 + [1], None, "class 'dog' has 1 image, fewer than the 5 folds: add images, or remove the class"),
        ([0] * 9 + [1] * 6, [*range(9), 9, 9, 9, 10, 10, 10], "class 'dog' has 2 groups of images"),
        (np.eye(3, dtype=int), None, "label 'cat' has 1 image, fewer than the two that training and test need"),
        (np.ones((3, 3), dtype=int), None, "there are 3 images, fewer than the 5 folds: use --folds 3"),
        (np.ones((9, 3), dtype=int), np.arange(9) // 3, "there are 3 groups of images, fewer than the 5 folds"),
    ],
)
def test_what_cannot_be_divided(labels, groups, message):
    groups = None if groups is None else np.array(groups)
    with pytest.raises(UserError, match=message):
        fold_numbers(np.array(labels), 5, classes=CLASSES, seed=0, groups=groups)


@settings(max_examples=15)
@given(st.integers(2, 7), st.integers(0, 2**63 - 1))
def test_folds_of_several_labels_have_similar_numbers_of_each(count, seed):
    rng = np.random.default_rng(3)
    labels = (rng.random((400, 4)) < [0.5, 0.2, 0.1, 0.04]).astype(np.int64)
    numbers = fold_numbers(labels, count, classes=["a", "b", "c", "d"], seed=seed)
    sizes = np.bincount(numbers, minlength=count)
    assert sizes.max() - sizes.min() <= 0.1 * 400 / count
    for label in labels.T:
        found = np.bincount(numbers[label > 0], minlength=count)
        assert np.abs(found - label.sum() / count).max() <= 2
    np.testing.assert_array_equal(numbers, fold_numbers(labels, count, classes=["a", "b", "c", "d"], seed=seed))
    assert not np.array_equal(numbers, fold_numbers(labels, count, classes=["a", "b", "c", "d"], seed=seed + 1))


def test_groups_of_images_with_several_labels_stay_together():
    rng = np.random.default_rng(0)
    groups, labels = rng.permutation(np.arange(240) // 4), rng.integers(0, 2, (240, 3))
    numbers = fold_numbers(labels, 4, classes=CLASSES, seed=0, groups=groups)
    assert all(len(set(numbers[groups == group])) == 1 for group in range(60))
    counts = np.array([labels[numbers == fold].sum(0) for fold in range(4)])
    assert np.abs(counts - labels.sum(0) / 4).max() <= 6 and np.abs(np.bincount(numbers) - 60).max() <= 12


def test_a_label_in_one_fold_is_refused():
    labels = np.array([[1, 1]] * 2 + [[1, 0]] * 9)  # the images of the second label are one group
    with pytest.raises(UserError, match="label 'dog' has 1 group of images"):
        fold_numbers(labels, 3, classes=["cat", "dog"], seed=0, groups=np.array([0, 0, *range(1, 10)]))


@pytest.fixture
def source(tmp_path, make_images):
    """A source with its own test split, and one without."""
    images, test = make_images(60), make_images(9, seed=1)
    arrays = {"images": images.pixels, "labels": images.targets}
    np.savez(tmp_path / "own.npz", **arrays, test_images=test.pixels, test_labels=test.targets)
    np.savez(tmp_path / "none.npz", **arrays)
    return tmp_path


@pytest.mark.parametrize("name", ["own.npz", "none.npz"])
def test_each_training_image_is_tested_in_one_fold(source, name):
    tested = []
    for number in range(1, 6):
        data = load(source / name, fold=f"{number}/5")
        assert len(data.test) == 12 and len(data.train) + len(data.validation) == 48
        assert not set(data.test.ids) & {*data.train.ids, *data.validation.ids}
        assert data.test.counts().tolist() == [4, 4, 4]
        tested += data.test.ids.tolist()
    assert len(set(tested)) == 60
    assert any(
        "fold 5/5" in note and ("9 test images are not used" in note) == (name == "own.npz") for note in data.notes
    )


def test_a_fold_may_be_the_validation_split(source):
    own, whole = load(source / "own.npz"), load(source / "none.npz")
    for name, test in (("own.npz", own.test), ("none.npz", whole.test)):
        validated = []
        for number in range(1, 4):
            data = load(source / name, fold=f"{number}/3", fold_split="validation")
            assert data.test.ids.tolist() == test.ids.tolist()
            assert not set(data.validation.ids) & {*data.train.ids, *data.test.ids}
            validated += data.validation.ids.tolist()
            assert any(f"fold {number}/3" in note and "is the validation split" in note for note in data.notes)
        assert len(validated) == len(set(validated)) == (60 if name == "own.npz" else 48)
    with pytest.raises(UserError, match="unknown split for a fold 'tset'"):
        load(source / "own.npz", fold="1/3", fold_split="tset")  # type: ignore[arg-type]


def test_groups_by_file_name(source, tmp_path, photos_by_patient):
    whole = load(photos_by_patient, group=r"(p\d+)_")
    folds = [load(photos_by_patient, group=r"(p\d+)_", fold=f"{number}/3") for number in (1, 2, 3)]
    for data in (whole, *folds):
        patients = [{name.split("/")[-1].split("_")[0] for name in split.ids} for split in (data.train, data.test)]
        assert patients[1] and not patients[0] & patients[1]
    assert sum(len(data.test) for data in folds) == 48
    with pytest.raises(UserError, match="matches no image"):
        load(photos_by_patient, group="nobody")


@pytest.fixture
def photos_by_patient(tmp_path):
    """Four photos of each of twelve patients, in two classes, named p01_0.png and so on."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for patient in range(12):
        folder = tmp_path / "patients" / ("ill", "well")[patient % 2]
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(4):
            Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(folder / f"p{patient:02}_{index}.png")
    return tmp_path / "patients"


def test_a_group_in_two_splits_is_refused(tmp_path, photos_by_patient):
    for split, names in (("train", "ab"), ("test", "c")):
        for kind in ("ill", "well"):
            for name in names:
                target = tmp_path / "split" / split / kind / f"same{name}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes((photos_by_patient / "ill" / "p00_0.png").read_bytes())
    with pytest.raises(UserError, match="group 'same' of --group has images in"):
        load(tmp_path / "split", group="same")
