from __future__ import annotations

import sys
import zipfile

import numpy as np
import pytest

from shoestring.data import build, from_arrays, load
from shoestring.data.loading import load_split
from shoestring.data.sources.arrays import arrays as arrays_source
from shoestring.data.sources.arrays import to_pixels
from shoestring.errors import UserError
from shoestring.tasks import MULTI_LABEL, SINGLE_LABEL

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 6, 6, 3), dtype=np.uint8)
LABELS = np.arange(20) % 2
ROWS = np.arange(20)[:, None] >> np.arange(3) & 1  # several labels: the bits of 0, 1, ...


def npz(tmp_path, **arrays):
    np.savez(tmp_path / "photos.npz", **arrays)
    return tmp_path / "photos.npz"


def test_an_npz_file(tmp_path):
    path = npz(tmp_path, images=IMAGES, labels=LABELS, test_images=IMAGES[:4], test_labels=LABELS[:4])
    data = load(path)
    assert data.name == "photos" and data.classes == ("0", "1") and len(data.test) == 4
    np.testing.assert_array_equal(data.test.pixels, IMAGES[:4])
    for split in (data.train, data.validation):
        rows = [int(name.split("/")[1]) for name in split.ids]
        np.testing.assert_array_equal(split.pixels, IMAGES[rows])
        np.testing.assert_array_equal(split.targets, LABELS[rows])


def test_blocks_from_many_threads_are_written_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "_MAX_BLOCK", 1)
    images = RNG.integers(0, 256, (300, 2, 2), dtype=np.uint8)
    labels = np.arange(300) % 7
    test = load(npz(tmp_path, images=IMAGES, labels=np.arange(20) % 7, test_images=images, test_labels=labels)).test
    np.testing.assert_array_equal(test.targets, labels)
    assert test.ids.tolist() == [f"test/{index:05d}" for index in range(300)]


def test_labels_may_be_numbers_with_gaps_names_or_indices_of_classes(tmp_path):
    assert load(npz(tmp_path, images=IMAGES, labels=LABELS * 7 + 3)).classes == ("3", "10")
    data = load(npz(tmp_path, images=IMAGES, labels=np.array(["dog", "cat"])[LABELS]))
    assert data.classes == ("cat", "dog") and data.train.counts().tolist() == [7, 7]
    assert load(npz(tmp_path, images=IMAGES, labels=LABELS, classes=["b", "a"])).classes == ("b", "a")


def test_rows_of_zeros_and_ones_are_several_labels(tmp_path):
    names = ("cat", "dog", "emu")
    held_out = {"test_images": IMAGES[:3], "test_labels": np.eye(3)}  # by chance one label each
    path = npz(tmp_path, images=IMAGES, labels=ROWS, classes=names, **held_out)
    data = load(path)
    assert data.classes == names and data.train.task == data.test.task == MULTI_LABEL
    for split in (data.train, data.validation):
        assert split.targets.tolist() == ROWS[[int(name.split("/")[1]) for name in split.ids]].tolist()
    assert data.test.targets.tolist() == np.eye(3).tolist()
    other = load_split(path, "train", classes=["emu", "cat", "fox", "dog"], task=MULTI_LABEL, resolution=6)
    assert other.targets.tolist() == [[emu, cat, 0, dog] for cat, dog, emu in ROWS.tolist()]
    assert load(npz(tmp_path, images=IMAGES, labels=ROWS > 0)).classes == ("0", "1", "2")


def test_rows_with_one_label_each_are_classes(tmp_path):
    data = load(npz(tmp_path, images=IMAGES, labels=np.eye(2)[LABELS], classes=["cat", "dog"]))
    assert data.classes == ("cat", "dog") and data.train.task == SINGLE_LABEL
    assert data.train.targets.tolist() == [LABELS[int(name.split("/")[1])] for name in data.train.ids]
    assert any("each image has exactly one label" in note for note in data.notes)


def test_grayscale_arrays_and_floats(tmp_path):
    grey = IMAGES[..., 0]
    as_bytes = load(npz(tmp_path, images=grey, labels=LABELS))
    assert as_bytes.train.shape == (6, 6, 1)
    as_floats = load(npz(tmp_path, images=(grey / 255).astype(np.float32), labels=LABELS))
    np.testing.assert_array_equal(as_bytes.train.pixels, as_floats.train.pixels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": None}, "no array 'labels'"),
        ({"images": None}, "no array 'images'"),
        ({"images": IMAGES.astype(np.int32)}, "int32; expected uint8"),
        ({"images": IMAGES / 100}, "expected 0..1"),
        ({"images": np.full((20, 6, 6), np.nan)}, "expected 0..1"),
        ({"images": IMAGES.transpose(0, 3, 1, 2)}, "Channels come last"),
        ({"images": IMAGES[0, 0]}, r"shape \(6, 3\)"),
        ({"labels": LABELS[:5]}, "one label for each of the 20 images"),
        ({"labels": LABELS / 2}, "one integer or name per image"),
        ({"labels": LABELS * 0}, "only one class"),
        ({"classes": ["only"]}, "unknown class in labels .* '1'"),
        ({"classes": ["a", "b", "c"]}, "'c' has no training images"),
        ({"test_images": IMAGES}, "one label for each"),
        ({"images": np.zeros((20, 4, 0), np.uint8)}, r"shape \(20, 4, 0\): the images have no pixels"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "labels in .* is empty: there are no images"),
        ({"test_labels": LABELS}, "no array 'test_images'"),
        ({"classes": ["a", "b", "a"]}, "more than one class is called 'a'"),
        ({"train_images": IMAGES, "train_labels": LABELS}, "images and train_images, which both name the train images"),
        ({"labels": ROWS * 2}, r"labels in .* has shape \(20, 3\) and holds 2; .* 0 or 1 for each label"),
        ({"labels": np.array([["cat", "dog"]] * 20)}, "holds 'cat'"),
        ({"labels": ROWS[:5]}, r"shape \(5, 3\); expected 0 or 1 for each of 20 images and 3 labels"),
        ({"labels": ROWS[..., None]}, r"or 0 or 1 for each of its labels \(N, L\)"),
        ({"labels": ROWS * [1, 0, 1]}, "label '1' has no training images"),
        ({"labels": ROWS, "classes": ["cat", "dog"]}, "labels in .* has 3 columns, and there are 2 classes"),
        (
            {"labels": ROWS, "test_images": IMAGES, "test_labels": LABELS},
            r"test_labels in .* has shape \(20,\); .* 0 or 1",
        ),
        ({"test_images": IMAGES, "test_labels": LABELS + 1}, "unknown class in test_labels .* '2'"),
    ],
)
def test_invalid_arrays_raise_errors(tmp_path, change, message):
    arrays = {"images": IMAGES, "labels": LABELS, **change}
    with pytest.raises(UserError, match=message) as caught:
        load(npz(tmp_path, **{name: array for name, array in arrays.items() if array is not None}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04broken"])
def test_invalid_npz_file_is_an_error(tmp_path, content):
    (tmp_path / "photos.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"photos\.npz is not an \.npz file"):
        load(tmp_path / "photos.npz")


def test_single_array_is_not_an_npz_file(tmp_path):
    with (tmp_path / "photos.npz").open("wb") as file:
        np.save(file, IMAGES)
    with pytest.raises(UserError, match=r"photos\.npz is not an \.npz file"):
        load(tmp_path / "photos.npz")


def test_pickled_arrays_are_not_loaded(tmp_path):
    with pytest.raises(UserError, match="plain arrays"):
        load(npz(tmp_path, images=IMAGES, labels=np.array([object()] * 20)))


def test_from_arrays_caches_nothing_and_holds_out_only_validation(cache):
    data = from_arrays(IMAGES, LABELS, classes=["cat", "dog"])
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, 0)
    assert data.classes == ("cat", "dog") and not cache.exists()
    np.testing.assert_array_equal(
        np.sort(np.concatenate([data.train.ids, data.validation.ids])), sorted(data.train._ids)
    )


def test_from_arrays_with_a_test_split_names_and_another_size():
    data = from_arrays(IMAGES, np.array(["x", "y"])[LABELS], test=(IMAGES[:3], ["y", "x", "y"]), resolution=4)
    assert data.train.shape == data.test.shape == (4, 4, 3) and data.test.targets.tolist() == [1, 0, 1]


def test_from_arrays_makes_squares_of_at_most_64():
    assert from_arrays(np.zeros((20, 5, 9), np.uint8), LABELS).train.shape == (5, 5, 1)
    assert from_arrays(np.zeros((20, 70, 90), np.uint8), LABELS).train.shape == (64, 64, 1)


def test_the_same_images_have_the_same_fingerprint_from_a_file_and_from_memory(tmp_path):
    from_file = load(npz(tmp_path, images=IMAGES, labels=LABELS, test_images=IMAGES, test_labels=LABELS))
    in_memory = from_arrays(IMAGES, LABELS, test=(IMAGES, LABELS))
    assert from_file.test.fingerprint == in_memory.test.fingerprint
    assert from_file.train.fingerprint == in_memory.train.fingerprint
    for other in (
        from_arrays(IMAGES, LABELS, test=(IMAGES, 1 - LABELS)),
        from_arrays(IMAGES, LABELS, test=(255 - IMAGES, LABELS)),
    ):
        assert other.test.fingerprint != in_memory.test.fingerprint


def test_to_pixels_rounds():
    assert to_pixels(np.array([[[0.0, 0.5, 1.0]]])).ravel().tolist() == [0, 128, 255]
    assert to_pixels(np.zeros((0, 4, 4, 1))).shape == (0, 4, 4, 1)


def test_alternative_split_names(tmp_path):
    data = load(npz(tmp_path, train_images=IMAGES, train_labels=LABELS, val_images=IMAGES[:6], val_labels=LABELS[:6]))
    assert len(data.validation) == 6 and len(data.train) == 16
    data = load(npz(tmp_path, images=IMAGES, labels=LABELS[:, None], valid_images=IMAGES[:6], valid_labels=LABELS[:6]))
    assert len(data.validation) == 6


def test_unused_arrays_are_noted(tmp_path):
    data = load(npz(tmp_path, images=IMAGES, labels=LABELS, extra_images=IMAGES, boxes=LABELS))
    assert any("not used: extra_images, boxes" in note for note in data.notes)


def test_label_names_are_unicode_normalized(tmp_path):
    names = np.array(["cafe\u0301", "bar"])
    path = npz(tmp_path, images=IMAGES, labels=names[LABELS], test_images=IMAGES[:2], test_labels=["caf\u00e9", "bar"])
    data = load(path)
    assert data.classes == ("bar", "caf\u00e9") and data.test.targets.tolist() == [1, 0]


def stored(path, name, header, content=b""):
    """Add an array with this header and content to an .npz file."""
    text = header.encode()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content)
    return path


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000, 64, 64, 3), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000000, 64, 64, 3), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 64), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': 'nonsense', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': " + "(" * 900 + ")" * 900 + ", }",
        "nothing of the kind",
        "",
    ],
)
def test_absurd_headers_are_one_line_errors(tmp_path, header):
    path = stored(npz(tmp_path, images=IMAGES), "labels", header, b"abc")
    with pytest.raises(UserError, match=r"photos\.npz (is not an \.npz file of plain arrays|does not fit)") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_encrypted_file_is_a_one_line_error(tmp_path):
    path = npz(tmp_path, images=IMAGES, labels=LABELS)
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.find(signature)
        while start >= 0:
            content[start + offset] |= 1  # marks the file as encrypted
            start = content.find(signature, start + 4)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"photos\.npz is not an \.npz file of plain arrays: .*encrypted"):
        load(path)


def test_file_larger_than_memory_is_an_error_before_loading(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[arrays_source.__module__], "_free_memory", lambda: 2000)
    with pytest.raises(UserError, match=r"photos\.npz takes .* GB of memory, and 0\.0 GB are free"):
        load(npz(tmp_path, images=IMAGES, labels=LABELS))


@pytest.mark.parametrize(("images", "labels"), [([[[1, 2], [3]]] * 20, LABELS), (IMAGES, [[1, 2], [3]] * 10)])
def test_lists_of_different_lengths_are_a_one_line_error(images, labels):
    with pytest.raises(UserError, match="are of different sizes"):
        from_arrays(images, labels)
