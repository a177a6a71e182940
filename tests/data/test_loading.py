from __future__ import annotations

import numpy as np
import pytest

from shoestring.config import registry
from shoestring.data import from_arrays, in_memory, load, load_split, load_unlabeled, loading
from shoestring.data.listing import Listing, Source, from_memory
from shoestring.errors import UserError


def test_built_in_sources():
    built_in = {
        name for name in registry.names("data") if registry.find("data", name).__module__.startswith("shoestring.")
    }
    assert built_in == {"arrays", "digits", "folder", "hub", "torchvision"}


def test_digits_are_scaled_to_bytes_and_not_mirrored():
    from sklearn.datasets import load_digits

    data = load("digits")
    assert (len(data.train) + len(data.validation), len(data.test)) == (1438, 359)
    assert data.classes == tuple("0123456789") and not data.mirrored and data.train.shape == (8, 8, 1)
    original = load_digits()
    for split in (data.train, data.validation, data.test):
        rows = [int(name.split("/")[1]) for name in split.ids]
        np.testing.assert_array_equal(split.targets, np.asarray(original.target)[rows])
        np.testing.assert_allclose(split.pixels[..., 0] / 255, np.asarray(original.images)[rows] / 16, atol=0.5 / 255)


def test_split_seed_changes_splits_only():
    first, again, other = load("digits"), load("digits"), load("digits", split_seed=1)
    np.testing.assert_array_equal(first.test.ids, again.test.ids)
    assert first.test.ids.tolist() != other.test.ids.tolist() and len(first.test) == len(other.test)


def test_progress_reaches_the_total(photos):
    calls = []
    root = photos({"cat": 90, "dog": 90}, size=(4, 4))
    load(root, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (180, 180) and [total for _, total in calls] == [180] * len(calls)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    calls.clear()
    load(root, progress=lambda done, total: calls.append((done, total)))
    assert not calls


def test_path_takes_precedence_over_name_and_prefix_over_both(photos, monkeypatch):
    photos({"cat": 5, "dog": 5}).rename(photos({}).parent / "digits")
    monkeypatch.chdir(photos({}).parent)
    assert load("digits").classes == ("cat", "dog") == load("folder:digits").classes
    assert load("digits:").classes == tuple("0123456789")


@pytest.mark.parametrize(
    ("source", "guess"),
    [
        ("digitz", "digits"),
        ("cifar1O", "cifar10"),
        ("photoz", "photos"),
        ("./photoz", "photos"),
        ("nothing like it", None),
    ],
)
def test_error_for_missing_source_suggests_a_similar_one(photos, monkeypatch, source, guess):
    monkeypatch.chdir(photos({"cat": 1}).parent)
    with pytest.raises(UserError, match="no folder, file or data set") as caught:
        load(source)
    assert ("Did you mean" in str(caught.value)) == (guess is not None) and "\n" not in str(caught.value)
    assert guess is None or f"'{guess}'" in str(caught.value)


def test_unsupported_file_is_an_error(tmp_path):
    (tmp_path / "photo.zip").write_bytes(b"x")
    with pytest.raises(UserError, match=r"photo\.zip is a file: expected"):
        load(tmp_path / "photo.zip")


def test_resolution_is_a_positive_number_of_pixels():
    with pytest.raises(UserError, match="not 0"):
        load("digits", resolution=0)


@pytest.mark.parametrize("split", ["test", "val"])
def test_folder_with_one_split_can_be_evaluated_but_not_trained_on(photos, split):
    root = photos({"dog": 3, "cat": 2}, at=split)
    images = load_split(root, classes=["ant", "cat", "dog"], resolution=12)
    assert images.targets.tolist() == [1, 1, 2, 2, 2] and images.classes == ("ant", "cat", "dog")
    with pytest.raises(UserError, match="no train folder"):
        load(root)  # also if the entry exists
    with pytest.raises(UserError, match=r"unknown split of .* 'train'"):
        load_split(root, "train", classes=["cat", "dog"], resolution=12)


def test_npz_file_with_test_images_only_can_be_evaluated_on(tmp_path):
    images = np.zeros((4, 6, 6), np.uint8)
    np.savez(tmp_path / "some.npz", test_images=images, test_labels=["b", "c", "b", "b"])
    found = load_split(tmp_path / "some.npz", classes=["a", "b", "c"], resolution=6)
    assert found.targets.tolist() == [1, 2, 1, 1]
    with pytest.raises(UserError, match="no array 'images'"):
        load(tmp_path / "some.npz")


def test_classes_of_a_model_match_however_accents_are_coded(photos):
    root = photos({"cafe\u0301": 3, "bar": 3}, at="test")
    found = load_split(root, classes=["bar", "caf\u00e9"], resolution=12)
    assert found.counts().tolist() == [3, 3]


def test_images_list_skipped_files(photos):
    root = photos({"cat": 5, "dog": 5})
    (root / "cat" / "bad.png").write_text("hello")
    for images in (
        load_split(root, classes=["cat", "dog"], resolution=12, skip_bad=True),
        load_unlabeled(root, skip_bad=True),
        load(root, skip_bad=True),
        load(root, skip_bad=True).train[:3],
    ):
        ((name, reason),) = images.skipped
        assert name.endswith("bad.png") and reason == "it is not an image"


@pytest.mark.parametrize("classes", [["a", "b", "a"], ["caf\u00e9", "b", "cafe\u0301"]])
def test_duplicate_class_names_in_python_raise_an_error(classes):
    images, labels = np.zeros((30, 4, 4), np.uint8), np.arange(30) % 3
    for make in (from_arrays, in_memory):
        with pytest.raises(UserError, match="more than one class is called"):
            make(images, labels, classes=classes)


def test_duplicate_class_names_of_third_party_sources_raise_an_error(monkeypatch):
    items = from_memory("train", np.zeros((30, 4, 4), np.uint8), np.arange(30) % 3)
    source = Source("theirs", "theirs", "1", lambda: Listing(("a", "b", "a"), {"train": items}, 30))
    monkeypatch.setattr(loading, "locate", lambda name: source)
    with pytest.raises(UserError, match="more than one class is called 'a'"):
        load("theirs")


def test_split_without_readable_images_is_not_used(photos):
    photos({"cat": 10, "dog": 10}, at="train")
    root = photos({"cat": 1}, at="val")
    (root / "val" / "cat" / "00.png").write_text("hello")
    data = load(root, skip_bad=True)
    assert any("the validation split has no readable images" in note for note in data.notes)
    assert len(data.validation) == 2


@pytest.mark.parametrize("source", ["", " ", "folder:", "hub:", "arrays: "])
def test_empty_name_is_not_the_current_folder(photos, monkeypatch, source):
    monkeypatch.chdir(photos({"cat": 5, "dog": 5}))
    with pytest.raises(UserError, match="the data set has no name"):
        load(source)


def test_impossible_file_names_are_user_errors(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for source in ("x" * 5000, "a\0b", str(tmp_path / "loop")):
        with pytest.raises(UserError, match="no folder, file or data set") as caught:
            load(source)
        assert f"Did you mean '{source}'" not in str(caught.value)
