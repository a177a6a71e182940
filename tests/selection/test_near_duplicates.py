from __future__ import annotations

import numpy as np
import pytest

from shoestring.data.loading import in_memory
from shoestring.errors import UserError
from shoestring.selection.label_errors import suspects
from shoestring.selection.near_duplicates import (
    _copies,
    alike,
    coarse,
    contradictory,
    duplicates,
    fine,
    groups_of,
    shared,
)


def _photos(count: int, *, seed: int, side: int = 32) -> np.ndarray:
    """Smooth colour pictures, no two alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (count, 5, 5, 3)).astype(np.uint8)
    steps = np.linspace(0, 4, side).round().astype(int)
    return coarse[:, steps][:, :, steps]


def _images(pixels: np.ndarray):
    return in_memory(pixels, np.arange(len(pixels)) % 2, classes=["a", "b"])


def test_copies_that_are_noisy_brighter_or_tinted_are_found_and_the_first_stays():
    pixels, rng = _photos(30, seed=0), np.random.default_rng(1)
    noisy = np.clip(pixels[3] + rng.normal(0, 8, pixels[3].shape), 0, 255).astype(np.uint8)
    brighter = np.clip(pixels[7].astype(int) * 0.8 + 40, 0, 255).astype(np.uint8)
    tinted = np.clip(pixels[9].astype(int) * 0.8 + [30, 0, 10], 0, 255).astype(np.uint8)
    images = _images(np.concatenate([pixels, noisy[None], brighter[None], tinted[None], pixels[3:4]]))
    assert duplicates(images).tolist() == [30, 31, 32, 33]
    assert duplicates(images[::-1]).tolist() == [3, 24, 26, 30]  # reversed, the photographs come last


def test_images_of_one_colour_are_alike_and_grey_ones_work():
    grey = np.full((4, 16, 16, 1), 90, dtype=np.uint8)
    grey[2, :8] = 200
    grey[3, :, :8] = 200
    assert duplicates(_images(grey)).tolist() == [1]


def test_what_is_chosen_already_stays_and_its_copies_go():
    pixels = _photos(12, seed=0)
    images = _images(np.concatenate([pixels, pixels[[2, 2, 5]]]))
    assert duplicates(images).tolist() == [12, 13, 14]
    assert duplicates(images, np.array([13, 5])).tolist() == [2, 12, 14]
    assert duplicates(images, np.array([12, 13])).tolist() == [2, 14]


def test_where_nothing_is_alike_nothing_is_found():
    assert not len(shared(_images(_photos(6, seed=0)), _images(_photos(6, seed=1))))
    assert not len(duplicates(_images(_photos(6, seed=0))))


def test_images_that_show_no_details_are_refused():
    with pytest.raises(UserError, match="8 x 8 pixels show too little"):
        duplicates(_images(_photos(6, seed=0, side=8)))


def test_test_images_that_are_in_training_are_named():
    train, test = _photos(20, seed=0), _photos(8, seed=5)
    test[[2, 6]] = train[[11, 4]]
    assert shared(_images(train), _images(test)).tolist() == [2, 6]


@pytest.mark.parametrize("seed", range(3))
def test_alike_finds_every_pair_that_a_table_of_all_shows(seed):
    rng = np.random.default_rng(seed)
    left = rng.normal(size=(60, 40))
    right = np.concatenate([left[:30] + rng.normal(size=(30, 40)) * 0.2, rng.normal(size=(25, 40))])
    left, right = ((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in (left, right))
    rows, columns = alike(left, right, 0.97)
    expected = np.argwhere(left @ right.T >= 0.97)
    assert 5 < len(expected) < 30
    assert sorted(zip(rows.tolist(), columns.tolist())) == [tuple(pair) for pair in expected.tolist()]


@pytest.mark.parametrize("kind", [coarse, fine])
def test_copies_are_of_unit_length(kind):
    copies = _copies(_images(_photos(5, seed=2)), kind)
    assert np.linalg.norm(copies, axis=1) == pytest.approx(np.ones(5), abs=1e-5)


def test_pictures_under_the_same_sky_are_not_the_same():
    rng = np.random.default_rng(0)
    sky = np.repeat(np.linspace(250, 40, 32)[:, None, None], 32, 1) * np.array([0.8, 0.9, 1.0])
    grounds = [sky + np.repeat(np.repeat(rng.normal(0, 14, (16, 16, 1)), 2, 0), 2, 1) for _ in range(6)]
    images = _images(np.clip(grounds, 0, 255).astype(np.uint8))
    rows, _ = alike(_copies(images, coarse), _copies(images, coarse), 0.95)
    assert len(rows) == 36  # by colours alone they are
    assert not len(duplicates(images))


def test_a_label_that_the_network_firmly_contradicts_is_a_suspect():
    shares = np.array([[0.9, 0.1, 0], [0.7, 0.3, 0], [0.2, 0.8, 0], [0.1, 0.9, 0], [0.9, 0.1, 0], [0.55, 0.45, 0]])
    labels = np.array([0, 0, 1, 1, 1, 1])
    # The mean share of class 0 among its own is 0.8, of class 1 among its own 0.5625; class 2 has no images.
    assert suspects(shares.astype(np.float32), labels).tolist() == [4]


def test_suspects_agree_with_a_slow_reading_of_the_rule():
    rng = np.random.default_rng(0)
    shares, labels = rng.dirichlet(np.ones(4), 200).astype(np.float32), rng.integers(0, 4, 200)
    usual = [shares[labels == c, c].mean(dtype=np.float64) for c in range(4)]
    expected = []
    for index, (share, label) in enumerate(zip(shares, labels)):
        predicted = [c for c in range(4) if share[c] >= usual[c]]
        if predicted and max(predicted, key=lambda c: share[c]) != label:
            expected.append(index)
    assert suspects(shares, labels).tolist() == expected


def test_copies_with_another_label_are_counted():
    pixels = _photos(12, seed=0)
    images = _images(np.concatenate([pixels, pixels[[2, 4, 5, 5]]]))  # places 12 to 15, labels in turn
    assert contradictory(groups_of(images), images.targets) == 2  # those of 4 and of 5
