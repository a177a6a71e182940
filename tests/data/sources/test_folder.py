from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from shoestring.data import decode_file, load, load_unlabeled
from shoestring.data.sources.folder import folder
from shoestring.errors import UserError

folder_module = sys.modules[folder.__module__]
TWO = {"cat": 10, "dog": 10}


def test_a_folder_of_class_folders(photos):
    data = load(photos(TWO))
    assert data.classes == ("cat", "dog") and data.name == "photos" and data.mirrored
    assert [len(split) for split in (data.train, data.validation, data.test)] == [14, 2, 4]
    assert data.train.shape == (12, 12, 3)


def test_every_image_keeps_its_pixels_label_and_name(photos):
    root = photos(TWO)
    data = load(root)
    for split in (data.train, data.validation, data.test):
        for pixels, label, name in zip(split.pixels, split.targets, split.ids):
            assert data.classes[label] == name.split("/")[0]
            np.testing.assert_array_equal(pixels, decode_file(root / str(name), resolution=12, channels=3))


def test_valid_may_be_a_class(photos):
    assert load(photos({"valid": 10, "invalid": 10})).classes == ("invalid", "valid")


def test_hidden_and_system_files_are_ignored_and_subfolders_searched(photos):
    root = photos(TWO)
    (root / "cat" / ".DS_Store").write_bytes(b"x")
    (root / "dog" / "Thumbs.db").write_bytes(b"x")
    (root / ".git").mkdir()
    (root / "cat" / "more").mkdir()
    (root / "cat" / "00.png").rename(root / "cat" / "more" / "00.png")
    data = load(root)
    assert data.classes == ("cat", "dog") and len(data.train) + len(data.validation) + len(data.test) == 20


def test_only_all_grayscale_images_have_one_channel(photos):
    assert load(photos({"cat": 5, "dog": 5}, mode="L")).train.shape == (12, 12, 1)
    assert load(photos({"emu": 5}, mode="RGB")).train.shape == (12, 12, 3)


def test_large_images_are_resized_to_64_with_a_note_or_as_requested(photos):
    root = photos({"cat": 4, "dog": 4}, size=(96, 120))
    data = load(root)
    assert data.train.shape == (64, 64, 3) and any("--resolution 96" in note for note in data.notes)
    data = load(root, resolution=20)
    assert data.train.shape == (20, 20, 3) and not any("--resolution" in note for note in data.notes)


@pytest.mark.parametrize(
    ("counts", "at", "message"),
    [
        ({}, "", "no class folders"),
        ({"cat": 5}, "", "only one class"),
        ({"cat": 5, "dog": 0}, "", "'dog' .* has no images"),
        ({"cat": 5}, "test", "no train folder"),
    ],
)
def test_invalid_folders_raise_errors(photos, tmp_path, cache, counts, at, message):
    (tmp_path / "photos").mkdir()
    with pytest.raises(UserError, match=message) as caught:
        load(photos(counts, at=at))
    assert "\n" not in str(caught.value)


def test_a_linked_class_folder_is_followed(photos, tmp_path):
    root = photos(TWO)
    (root / "dog").rename(tmp_path / "elsewhere")
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    assert load(root).classes == ("cat", "dog")


def test_a_folder_that_cannot_be_listed_is_an_error(photos, monkeypatch):
    root = photos(TWO)
    (root / "cat" / "locked").mkdir()
    real = os.scandir

    def scandir(place):
        if str(place).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return real(place)

    monkeypatch.setattr(os, "scandir", scandir)
    for skip_bad in (False, True):
        with pytest.raises(UserError, match=r"cannot list the folder .*locked: permission denied"):
            load(root, skip_bad=skip_bad)


def test_files_beside_class_folders_are_noted(photos):
    root = photos(TWO)
    (root / "cat" / "00.png").rename(root / "loose.png")
    assert any("beside the class folders" in note and "loose.png" in note for note in load(root).notes)


def test_train_may_be_a_class(photos):
    root = photos({"train": 10, "car": 10, "bus": 10})
    (root / "train" / "steam").mkdir()
    (root / "train" / "00.png").rename(root / "train" / "steam" / "00.png")
    data = load(root)
    assert data.classes == ("bus", "car", "train") and sum(map(len, (data.train, data.validation, data.test))) == 30


def test_folder_names_are_unicode_normalized(photos):
    photos({"caf\u00e9": 10, "bar": 10}, at="train")
    root = photos({"cafe\u0301": 3, "bar": 3}, at="test")
    data = load(root)
    assert data.classes == ("bar", "caf\u00e9") and data.test.counts().tolist() == [3, 3]


def test_folders_with_the_same_normalized_name_are_an_error(photos):
    with pytest.raises(UserError, match=r"two class folders in .* are called 'café'"):
        load(photos({"caf\u00e9": 10, "cafe\u0301": 10}))


@pytest.mark.parametrize("small", ["ant", "zebra"])
def test_class_names_do_not_affect_the_resolution(photos, small, monkeypatch):
    monkeypatch.setattr(folder_module, "SAMPLE_SIZE", 20)
    photos({small: 30}, size=(40, 40))
    root = photos({"cat": 60, "dog": 60}, size=(8, 8))
    assert load(root).train.shape == (8, 8, 3)


@pytest.mark.parametrize("small", ["ant", "zebra"])
def test_folder_names_without_labels_do_not_affect_the_resolution(photos, small, monkeypatch):
    monkeypatch.setattr(folder_module, "SAMPLE_SIZE", 20)
    photos({small: 30}, size=(40, 40))
    root = photos({"cat": 60, "dog": 60}, size=(8, 8))
    assert load_unlabeled(root).shape == (8, 8, 3)


def test_system_folders_are_not_classes(photos):
    root = photos({**TWO, "__MACOSX": 1, "@eaDir": 1})
    assert load(root).classes == ("cat", "dog")


def test_tilde_is_expanded(photos, monkeypatch):
    root = photos(TWO)
    monkeypatch.setenv("HOME", str(root.parent))
    for source in ("~/photos", "folder:~/photos"):
        assert load(source).classes == ("cat", "dog")
    assert decode_file("~/photos/cat/00.png", resolution=4, channels=3).shape == (4, 4, 3)


def test_missing_home_is_a_one_line_error():
    with pytest.raises(UserError, match="no home folder"):
        load("~nobody-of-this-name/photos")
