from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
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
    monkeypatch.setattr(module, "_MAX_STRATIFIED", most)
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
        (np.eye(3, dtype=int), None, "several labels each"),
    ],
)
def test_what_cannot_be_divided(labels, groups, message):
    groups = None if groups is None else np.array(groups)
    with pytest.raises(UserError, match=message):
        fold_numbers(np.array(labels), 5, classes=CLASSES, seed=0, groups=groups)


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
