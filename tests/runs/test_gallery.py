"""The pictures of a report: mistakes, chosen images and near duplicates."""

from __future__ import annotations

import numpy as np
import pytest

from shoestring.data import Images
from shoestring.data.memory import in_memory
from shoestring.runs.gallery import Sources, indices_of, make_gallery
from shoestring.runs.predictions_file import TestPredictions


def _images(pixels: np.ndarray, labels: list[int]) -> Images:
    return in_memory(pixels, np.array(labels, dtype=np.int64), classes=["a", "b"], resolution=pixels.shape[1])


def test_mistakes_are_sorted_by_confidence():
    rng = np.random.default_rng(0)
    test = _images(rng.integers(0, 255, (6, 16, 16, 3), dtype=np.uint8), [0, 0, 0, 1, 1, 1])
    predicted, confidence = np.array([0, 1, 1, 1, 1, 0]), np.array([0.9, 0.95, 0.6, 0.8, 0.7, 0.55])
    predictions = TestPredictions(tuple(map(str, test.ids)), test.targets, predicted, confidence)
    gallery = make_gallery(Sources(test, None, test[:0], None), None, left=lambda: 9.0, seconds_per_pass=1e-4)
    assert (gallery.mistakes, gallery.cells, gallery.chosen) == ([], {}, {})
    gallery = make_gallery(Sources(test[:0], None, test, None), predictions, left=lambda: 9.0, seconds_per_pass=1e-4)
    assert [picture.name for picture in gallery.mistakes] == [str(test.ids[index]) for index in (1, 2, 5)]
    assert not any(picture.note for picture in gallery.mistakes)
    assert {cell: len(pictures) for cell, pictures in gallery.cells.items()} == {(0, 1): 2, (1, 0): 1}


@pytest.mark.parametrize(
    ("wrong", "marked"),
    [([5, 40, 60], [False, False, False]), ([40], [True]), ([40, 90], [True, False]), ([19], [False]), ([20], [True])],
)
def test_mistakes_are_marked_if_nearly_all_other_predictions_of_their_confidence_are_right(wrong, marked):
    test = _images(np.zeros((100, 16, 16, 3), np.uint8), [0] * 100)
    predicted = np.zeros(100, dtype=np.int64)
    predicted[wrong] = 1
    predictions = TestPredictions(tuple(map(str, test.ids)), test.targets, predicted, np.linspace(0.99, 0.5, 100))
    gallery = make_gallery(Sources(test[:0], None, test, None), predictions, left=lambda: 9.0, seconds_per_pass=1e-4)
    assert [bool(picture.note) for picture in gallery.mistakes] == marked


def test_chosen_images_are_beside_the_nearest_of_their_class(make_model):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (60, 16, 16, 3), dtype=np.uint8)
    pixels[59] = np.clip(pixels[0].astype(int) + 1, 0, 255)  # nearly the same, but of the other class
    pixels[58] = np.clip(pixels[1].astype(int) + 1, 0, 255)
    labels = [index % 2 for index in range(60)]
    labels[58], labels[1] = 0, 0
    pool = _images(pixels, labels)
    sources = Sources(pool, np.array([0, 1]), pool[:0], make_model(pool, "convnet"), ranked=True)
    gallery = make_gallery(sources, None, left=lambda: 99.0, seconds_per_pass=1e-4)
    [(name, pairs)] = gallery.chosen.items()
    assert name == "a" and [pair.first.name for pair in pairs] == [str(pool.ids[0]), str(pool.ids[1])]
    assert pairs[1].second is not None and pairs[1].second.name == str(pool.ids[58])
    assert pairs[0].second is not None and pairs[0].second.name != str(pool.ids[59])
    late = make_gallery(sources, None, left=lambda: 0.001, seconds_per_pass=1e-3)
    assert all(pair.second is None for pair in late.chosen["a"]) and "no time" in late.notes["chosen"]


def test_near_duplicates_in_training_are_shown():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (40, 4, 4, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    train, test = _images(pixels[:30], [0] * 30), _images(pixels[28:], [0] * 12)
    gallery = make_gallery(Sources(train, None, test, None), None, left=lambda: 9.0, seconds_per_pass=1e-4)
    shown = [(pair.first.name, pair.second and pair.second.name) for pair in gallery.duplicates]
    assert shown == [(str(test.ids[0]), str(train.ids[28])), (str(test.ids[1]), str(train.ids[29]))]
    assert gallery.notes["duplicates"].startswith("2 of 12 test images")


def test_indices_of_a_part(images):
    part = images[np.array([7, 3, 11])]
    assert indices_of(images[np.arange(1, 20)], part).tolist() == [6, 2, 10]
