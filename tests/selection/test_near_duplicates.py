from __future__ import annotations

import numpy as np
import pytest

from shoestring.data.memory import in_memory
from shoestring.errors import UserError
from shoestring.selection.label_errors import find_label_errors
from shoestring.selection.near_duplicates import (
    _thumbnails,
    coarse,
    count_conflicting,
    duplicate_groups,
    find_duplicates,
    find_leaked,
    fine,
    similar_pairs,
)


def _photos(count: int, *, seed: int, side: int = 32) -> np.ndarray:
    """Random smooth color images."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (count, 5, 5, 3)).astype(np.uint8)
    steps = np.linspace(0, 4, side).round().astype(int)
    return coarse[:, steps][:, :, steps]


def _images(pixels: np.ndarray):
    return in_memory(pixels, np.arange(len(pixels)) % 2, classes=["a", "b"])


def test_noisy_brighter_and_tinted_versions_are_found_and_the_first_stays():
    pixels, rng = _photos(30, seed=0), np.random.default_rng(1)
    noisy = np.clip(pixels[3] + rng.normal(0, 8, pixels[3].shape), 0, 255).astype(np.uint8)
    brighter = np.clip(pixels[7].astype(int) * 0.8 + 40, 0, 255).astype(np.uint8)
    tinted = np.clip(pixels[9].astype(int) * 0.8 + [30, 0, 10], 0, 255).astype(np.uint8)
    images = _images(np.concatenate([pixels, noisy[None], brighter[None], tinted[None], pixels[3:4]]))
    assert find_duplicates(images).tolist() == [30, 31, 32, 33]
    assert find_duplicates(images[::-1]).tolist() == [3, 24, 26, 30]  # reversed, the originals come last


def test_images_of_a_single_color_match_and_gray_images_work():
    gray = np.full((4, 16, 16, 1), 90, dtype=np.uint8)
    gray[2, :8] = 200
    gray[3, :, :8] = 200
    assert find_duplicates(_images(gray)).tolist() == [1]


def test_images_selected_before_stay_and_their_duplicates_go():
    pixels = _photos(12, seed=0)
    images = _images(np.concatenate([pixels, pixels[[2, 2, 5]]]))
    assert find_duplicates(images).tolist() == [12, 13, 14]
    assert find_duplicates(images, np.array([13, 5])).tolist() == [2, 12, 14]
    assert find_duplicates(images, np.array([12, 13])).tolist() == [2, 14]


def test_distinct_images_have_no_duplicates():
    assert not len(find_leaked(_images(_photos(6, seed=0)), _images(_photos(6, seed=1))))
    assert not len(find_duplicates(_images(_photos(6, seed=0))))


def test_images_that_are_too_small_raise_an_error():
    with pytest.raises(UserError, match="8 x 8 pixels show too little"):
        find_duplicates(_images(_photos(6, seed=0, side=8)))


def test_test_images_that_are_in_the_training_set_are_found():
    train, test = _photos(20, seed=0), _photos(8, seed=5)
    test[[2, 6]] = train[[11, 4]]
    assert find_leaked(_images(train), _images(test)).tolist() == [2, 6]


@pytest.mark.parametrize("seed", range(3))
def test_similar_pairs_finds_the_pairs_of_the_full_matrix(seed):
    rng = np.random.default_rng(seed)
    left = rng.normal(size=(60, 40))
    right = np.concatenate([left[:30] + rng.normal(size=(30, 40)) * 0.2, rng.normal(size=(25, 40))])
    left, right = ((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in (left, right))
    rows, columns = similar_pairs(left, right, 0.97)
    expected = np.argwhere(left @ right.T >= 0.97)
    assert 5 < len(expected) < 30
    assert sorted(zip(rows.tolist(), columns.tolist())) == [tuple(pair) for pair in expected.tolist()]


@pytest.mark.parametrize("kind", [coarse, fine])
def test_thumbnails_have_unit_length(kind):
    vectors = _thumbnails(_images(_photos(5, seed=2)), kind)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-5)


def test_landscapes_under_the_same_sky_do_not_match():
    rng = np.random.default_rng(0)
    sky = np.repeat(np.linspace(250, 40, 32)[:, None, None], 32, 1) * np.array([0.8, 0.9, 1.0])
    grounds = [sky + np.repeat(np.repeat(rng.normal(0, 14, (16, 16, 1)), 2, 0), 2, 1) for _ in range(6)]
    images = _images(np.clip(grounds, 0, 255).astype(np.uint8))
    rows, _ = similar_pairs(_thumbnails(images, coarse), _thumbnails(images, coarse), 0.95)
    assert len(rows) == 36  # by the coarse thumbnails they do
    assert not len(find_duplicates(images))


def test_a_label_that_the_model_confidently_contradicts_is_an_error():
    probabilities = np.array(
        [[0.9, 0.1, 0], [0.7, 0.3, 0], [0.2, 0.8, 0], [0.1, 0.9, 0], [0.9, 0.1, 0], [0.55, 0.45, 0]]
    )
    labels = np.array([0, 0, 1, 1, 1, 1])
    # The mean probability of class 0 for its own images is 0.8, of class 1 0.5625; class 2 has no images.
    assert find_label_errors(probabilities.astype(np.float32), labels).tolist() == [4]


def test_label_errors_equal_a_brute_force_implementation():
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(4), 200).astype(np.float32), rng.integers(0, 4, 200)
    threshold = [probabilities[labels == c, c].mean(dtype=np.float64) for c in range(4)]
    expected = []
    for index, (own, label) in enumerate(zip(probabilities, labels)):
        predicted = [c for c in range(4) if own[c] >= threshold[c]]
        if predicted and max(predicted, key=lambda c: own[c]) != label:
            expected.append(index)
    assert find_label_errors(probabilities, labels).tolist() == expected


def test_duplicates_with_different_labels_are_counted():
    pixels = _photos(12, seed=0)
    images = _images(np.concatenate([pixels, pixels[[2, 4, 5, 5]]]))  # indices 12 to 15, labels in turn
    assert count_conflicting(duplicate_groups(images), images.targets) == 2  # the groups of 4 and of 5
