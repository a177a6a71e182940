from __future__ import annotations

import os

import pytest

from shoestring.data import load
from shoestring.errors import UserError

TWO = {"cat": 10, "dog": 10}


def count(data) -> int:
    return sum(map(len, (data.train, data.validation, data.test)))


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
