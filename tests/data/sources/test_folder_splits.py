from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from shoestring.data import load
from shoestring.errors import UserError

TWO = {"cat": 10, "dog": 10}


@pytest.mark.parametrize("validation", ["val", "validation"])
def test_existing_splits_are_used(photos, validation):
    photos(TWO, at="train")
    photos({"cat": 2, "dog": 1}, at=validation)
    data = load(photos({"dog": 3}, at="test"))
    assert [len(split) for split in (data.train, data.validation, data.test)] == [20, 3, 3]
    assert data.test.targets.tolist() == [1, 1, 1] and not data.notes
    assert isinstance(data.train.pixels, np.memmap) and isinstance(data.test.pixels, np.memmap)


def test_split_folder_names_are_case_insensitive_with_synonyms(photos):
    photos(TWO, at="Training")
    photos({"cat": 2, "dog": 1}, at="VAL")
    data = load(photos({"cat": 1, "dog": 3}, at="Testing"))
    assert data.classes == ("cat", "dog")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [20, 3, 4]


def test_error_for_class_not_in_train_suggests_a_similar_one(photos):
    photos(TWO, at="train")
    with pytest.raises(UserError, match=r"class in test 'dogs'\. Did you mean 'dog'\?"):
        load(photos({"dogs": 1}, at="test"))


def test_test_images_without_class_folders_are_not_used(photos):
    root = photos(TWO, at="train")
    (root / "test").mkdir()
    Image.new("RGB", (12, 12)).save(root / "test" / "unknown.png")
    data = load(root)
    assert len(data.test) == 4 and any("without labels it is not used" in note for note in data.notes)


@pytest.mark.parametrize(("one", "other"), [("test", "testing"), ("val", "valid"), ("train", "training")])
def test_two_folders_of_one_split_are_an_error(photos, one, other):
    for at in {"train", one, other}:
        root = photos({"cat": 5, "dog": 5}, at=at)
    with pytest.raises(UserError, match=f"{one} and {other} in .* both name the"):
        load(root)


def test_other_entries_beside_splits_are_noted(photos):
    photos(TWO, at="train")
    photos({"cat": 3}, at="test")
    root = photos({"extra": 2})
    (root / "labels.csv").write_text("")
    (note,) = load(root).notes
    assert "beside train, test in" in note and "extra, labels.csv" in note


def test_train_as_class_beside_a_test_split_is_an_error(photos):
    with pytest.raises(UserError, match="has class folders, and test beside them: put the classes of each split"):
        load(photos({"train": 5, "car": 5, "test": 5}))


def test_ambiguous_train_folder_is_an_error(photos):
    photos({"steam": 5, "diesel": 5}, at="train")
    root = photos({"car": 5})
    with pytest.raises(UserError, match=r"is .*train a class, like car beside it, or does it hold the classes\? If"):
        load(root)
    assert load(root / "train").classes == ("diesel", "steam")


def test_train_with_annotations_beside_it_is_a_split(photos):
    root = photos(TWO, at="train")
    (root / "annotations").mkdir()
    (root / "annotations" / "all.json").write_text("{}")
    assert any("annotations" in note for note in load(root).notes)


def test_splits_below_classes_are_an_error(photos):
    for at in ("cat", "dog"):
        root = photos({"train": 5, "test": 5}, at=at)
    with pytest.raises(UserError, match=r"cat contains split folders \(test, train\): .*test/cat\."):
        load(root)
