from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from shoestring.data import decode_file, load
from shoestring.errors import UserError

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


@pytest.mark.parametrize("validation", ["val", "validation"])
def test_splits_that_exist_are_used(photos, validation):
    photos(TWO, at="train")
    photos({"cat": 2, "dog": 1}, at=validation)
    data = load(photos({"dog": 3}, at="test"))
    assert [len(split) for split in (data.train, data.validation, data.test)] == [20, 3, 3]
    assert data.test.targets.tolist() == [1, 1, 1] and not data.notes
    assert isinstance(data.train.pixels, np.memmap) and isinstance(data.test.pixels, np.memmap)


def test_folders_of_splits_may_have_capitals_and_longer_names(photos):
    photos(TWO, at="Training")
    photos({"cat": 2, "dog": 1}, at="VAL")
    data = load(photos({"cat": 1, "dog": 3}, at="Testing"))
    assert data.classes == ("cat", "dog")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [20, 3, 4]


def test_valid_may_be_a_class(photos):
    assert load(photos({"valid": 10, "invalid": 10})).classes == ("invalid", "valid")


def test_a_class_that_train_lacks_is_named_with_the_nearest(photos):
    photos(TWO, at="train")
    with pytest.raises(UserError, match=r"class in test 'dogs'\. Did you mean 'dog'\?"):
        load(photos({"dogs": 1}, at="test"))


def test_test_images_without_class_folders_are_left_aside(photos):
    root = photos(TWO, at="train")
    (root / "test").mkdir()
    Image.new("RGB", (12, 12)).save(root / "test" / "unknown.png")
    data = load(root)
    assert len(data.test) == 4 and any("without labels it is not used" in note for note in data.notes)


def test_hidden_and_system_files_are_passed_over_and_deeper_folders_searched(photos):
    root = photos(TWO)
    (root / "cat" / ".DS_Store").write_bytes(b"x")
    (root / "dog" / "Thumbs.db").write_bytes(b"x")
    (root / ".git").mkdir()
    (root / "cat" / "more").mkdir()
    (root / "cat" / "00.png").rename(root / "cat" / "more" / "00.png")
    data = load(root)
    assert data.classes == ("cat", "dog") and len(data.train) + len(data.validation) + len(data.test) == 20


def test_another_file_is_an_error_that_names_it_unless_bad_files_are_skipped(photos, cache):
    root = photos(TWO)
    (root / "dog" / "notes.txt").write_text("hello")
    (root / "cat" / "cut.png").write_bytes((root / "cat" / "00.png").read_bytes()[:200])
    with pytest.raises(UserError, match=r"cut\.png: it is a broken image .*--skip-bad"):
        load(root)
    assert not list((cache / "images").iterdir())
    data = load(root, skip_bad=True)
    assert len(data.train) + len(data.validation) + len(data.test) == 20
    assert any("notes.txt" in note and "cut.png" in note and note.startswith("2 ") for note in data.notes)
    with pytest.raises(UserError, match=r"cut\.png"):  # also when the entry made without it is there
        load(root)
    (root / "cat" / "cut.png").unlink()
    (root / "dog" / "notes.txt").unlink()
    assert not any("unreadable" in note for note in load(root).notes)


def test_many_bad_files_in_a_row_can_be_skipped(photos):
    root = photos({"cat": 5, "dog": 5})
    for index in range(150):
        (root / "cat" / f"0{index:03d}.txt").write_text("hello")
    data = load(root, skip_bad=True)
    assert sum(map(len, (data.train, data.validation, data.test))) == 10
    assert any(note.startswith("150 ") and "and 130 more" in note for note in data.notes)


def test_grey_images_stay_grey_only_among_themselves(photos):
    assert load(photos({"cat": 5, "dog": 5}, mode="L")).train.shape == (12, 12, 1)
    assert load(photos({"emu": 5}, mode="RGB")).train.shape == (12, 12, 3)


def test_large_images_become_64_with_a_note_and_any_size_on_demand(photos):
    root = photos({"cat": 4, "dog": 4}, size=(96, 120))
    data = load(root)
    assert data.train.shape == (64, 64, 3) and any("--resolution 96" in note for note in data.notes)
    data = load(root, resolution=20)
    assert data.train.shape == (20, 20, 3) and not any("--resolution" in note for note in data.notes)


@pytest.mark.parametrize(
    ("counts", "at", "message"),
    [
        ({}, "", "no class folders"),
        ({"cat": 5}, "", "one class only"),
        ({"cat": 5, "dog": 0}, "", "'dog' .* has no images"),
        ({"cat": 5, "dog": 1}, "", "'dog' has 1 training image,"),
        ({"cat": 5}, "test", "no train folder"),
    ],
)
def test_folders_that_cannot_be_used(photos, tmp_path, cache, counts, at, message):
    (tmp_path / "photos").mkdir()
    with pytest.raises(UserError, match=message) as caught:
        load(photos(counts, at=at))
    assert "\n" not in str(caught.value)


def test_a_linked_class_folder_is_followed(photos, tmp_path):
    root = photos(TWO)
    (root / "dog").rename(tmp_path / "elsewhere")
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    assert load(root).classes == ("cat", "dog")
