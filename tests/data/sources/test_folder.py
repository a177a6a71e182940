from __future__ import annotations

import os
import sys

import numpy as np
import pytest
from PIL import Image

from shoestring.data import decode_file, load, load_unlabelled
from shoestring.data.sources.folder import folder
from shoestring.errors import UserError

folder_module = sys.modules[folder.__module__]
TWO = {"cat": 10, "dog": 10}


def count(data) -> int:
    return sum(map(len, (data.train, data.validation, data.test)))


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


def test_valid_may_be_a_class(photos):
    assert load(photos({"valid": 10, "invalid": 10})).classes == ("invalid", "valid")


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


def test_hidden_and_system_files_are_ignored_and_subfolders_searched(photos):
    root = photos(TWO)
    (root / "cat" / ".DS_Store").write_bytes(b"x")
    (root / "dog" / "Thumbs.db").write_bytes(b"x")
    (root / ".git").mkdir()
    (root / "cat" / "more").mkdir()
    (root / "cat" / "00.png").rename(root / "cat" / "more" / "00.png")
    data = load(root)
    assert data.classes == ("cat", "dog") and len(data.train) + len(data.validation) + len(data.test) == 20


def test_broken_image_is_an_error_unless_skipped(photos, cache):
    root = photos(TWO)
    (root / "cat" / "cut.png").write_bytes((root / "cat" / "00.png").read_bytes()[:200])
    with pytest.raises(UserError, match=r"cut\.png: it is a broken image .*--skip-bad"):
        load(root)
    assert not list((cache / "images").iterdir())
    data = load(root, skip_bad=True)
    assert count(data) == 20
    assert any("cut.png" in note and note.startswith("skipped 1 unreadable") for note in data.notes)
    with pytest.raises(UserError, match=r"cut\.png"):  # also if an entry without it exists
        load(root)
    (root / "cat" / "cut.png").unlink()
    assert not any("unreadable" in note for note in load(root).notes) and not load(root).skipped


def test_files_that_are_not_images_are_skipped_and_counted(photos):
    root = photos(TWO)
    (root / "dog" / "notes.txt").write_text("hello")
    (root / "dog" / "film.mov").write_bytes(b"\0\0\0\x14ftypqt  " + bytes(30))
    (root / "cat" / "empty").touch()
    (root / "cat" / "00.png").rename(root / "cat" / "named oddly.data")
    for _ in range(2):  # decoded, then from the cache
        data = load(root)
        assert count(data) == 20 and data.skipped == ()
        (note,) = (note for note in data.notes if "not images" in note)
        assert note.startswith("skipped 3 files") and all(name in note for name in ("notes.txt", "film.mov", "empty"))


@pytest.mark.parametrize("name", ["page.jpg", "drawing.svg", "raw.CR2"])
def test_file_with_image_suffix_is_never_skipped_silently(photos, name):
    root = photos(TWO)
    (root / "cat" / name).write_text("<html>")
    with pytest.raises(UserError, match=rf"{name}: it is not an image\. Repair or remove it"):
        load(root)
    assert load(root, skip_bad=True).skipped[0][0].endswith(name)


def test_all_skipped_images_are_listed_and_the_first_named(photos):
    root = photos({"cat": 5, "dog": 5})
    for index in range(46):
        (root / "cat" / f"bad{index:02d}.png").write_text("hello")
    data = load(root, skip_bad=True)
    assert len(data.skipped) == 46 and {reason for _, reason in data.skipped} == {"it is not an image"}
    assert any(note.startswith("skipped 46 ") and "and 26 more" in note for note in data.notes)


def test_many_consecutive_other_files_are_skipped(photos):
    root = photos({"cat": 5, "dog": 5})
    for index in range(150):
        (root / "cat" / f"0{index:03d}.txt").write_text("hello")
    data = load(root)
    assert count(data) == 10 and any(note.startswith("skipped 150 ") and "and 130 more" in note for note in data.notes)


def test_a_class_of_other_files_only_has_no_images(photos):
    root = photos({"cat": 5, "dog": 5, "emu": 0})
    (root / "emu" / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match="'emu' has no training images"):
        load(root)


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
        ({"cat": 5, "dog": 1}, "", "'dog' has 1 training image,"),
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


def test_linked_folders_inside_a_class_are_followed_each_once(photos, tmp_path):
    root = photos(TWO)
    for name in ("far", "inner"):
        (tmp_path / name).mkdir()
    (root / "cat" / "00.png").rename(tmp_path / "far" / "00.png")
    (root / "cat" / "01.png").rename(tmp_path / "inner" / "01.png")
    (root / "cat" / "far").symlink_to(tmp_path / "far")
    (root / "cat" / "again").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "inner").symlink_to(tmp_path / "inner")
    (tmp_path / "inner" / "back").symlink_to(root / "cat")  # a cycle
    data = load(root)
    assert count(data) == 20 and data.train.counts().sum() + data.test.counts().sum() + len(data.validation) == 20
    names = {str(name) for split in (data.train, data.validation, data.test) for name in split.ids}
    assert {"cat/again/00.png", "cat/again/inner/01.png"} <= names and len(names) == 20


def test_path_of_a_folder_takes_precedence_over_a_link(photos):
    root = photos(TWO)
    (root / "cat" / "z").mkdir()
    (root / "cat" / "00.png").rename(root / "cat" / "z" / "00.png")
    (root / "cat" / "a").symlink_to(root / "cat" / "z")
    data = load(root)
    assert count(data) == 20
    assert any("cat/z/00.png" in split.ids for split in (data.train, data.validation, data.test))


def test_broken_link_is_an_unreadable_image(photos):
    root = photos(TWO)
    (root / "cat" / "gone.png").symlink_to(root / "nowhere.png")
    with pytest.raises(UserError, match=r"gone\.png: no such file or directory.*--skip-bad"):
        load(root)
    data = load(root, skip_bad=True)
    assert count(data) == 20 and data.skipped[0][0].endswith("gone.png")


def test_pipe_does_not_block(photos):
    root = photos(TWO)
    os.mkfifo(root / "cat" / "pipe.png")
    data = load(root)
    assert count(data) == 20 and any("neither files nor folders" in note and "pipe.png" in note for note in data.notes)


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


def test_files_beside_class_folders_are_noted(photos):
    root = photos(TWO)
    (root / "cat" / "00.png").rename(root / "loose.png")
    assert any("beside the class folders" in note and "loose.png" in note for note in load(root).notes)


def test_train_may_be_a_class(photos):
    root = photos({"train": 10, "car": 10, "bus": 10})
    (root / "train" / "steam").mkdir()
    (root / "train" / "00.png").rename(root / "train" / "steam" / "00.png")
    data = load(root)
    assert data.classes == ("bus", "car", "train") and count(data) == 30


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
    assert load_unlabelled(root).shape == (8, 8, 3)


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
