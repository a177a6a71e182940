from __future__ import annotations

import numpy as np
import pytest

from shoestring import registry
from shoestring.data import load
from shoestring.errors import UserError


def test_the_sources_are_these_five():
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


def test_the_split_seed_moves_images_and_nothing_else():
    first, again, other = load("digits"), load("digits"), load("digits", split_seed=1)
    np.testing.assert_array_equal(first.test.ids, again.test.ids)
    assert first.test.ids.tolist() != other.test.ids.tolist() and len(first.test) == len(other.test)


def test_progress_counts_to_the_total(photos):
    calls = []
    root = photos({"cat": 90, "dog": 90}, size=(4, 4))
    load(root, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (180, 180) and [total for _, total in calls] == [180] * len(calls)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    calls.clear()
    load(root, progress=lambda done, total: calls.append((done, total)))
    assert not calls


def test_a_path_comes_before_a_name_and_a_prefix_settles_it(photos, monkeypatch):
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
def test_what_does_not_exist_is_guessed(photos, monkeypatch, source, guess):
    monkeypatch.chdir(photos({"cat": 1}).parent)
    with pytest.raises(UserError, match="no folder, file or data set") as caught:
        load(source)
    assert ("Did you mean" in str(caught.value)) == (guess is not None) and "\n" not in str(caught.value)
    assert guess is None or f"'{guess}'" in str(caught.value)


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "photo.zip").write_bytes(b"x")
    with pytest.raises(UserError, match=r"photo\.zip is a file: expected"):
        load(tmp_path / "photo.zip")


def test_resolution_is_a_positive_number_of_pixels():
    with pytest.raises(UserError, match="not 0"):
        load("digits", resolution=0)
