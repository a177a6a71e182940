from __future__ import annotations

import numpy as np

from shoestring.runs.gallery import Sources, make_gallery
from shoestring.runs.looks import _faded
from shoestring.runs.predictions_file import LabelTestPredictions, TestPredictions


def _predictions(images) -> TestPredictions:
    """All images predicted as the next class."""
    labels = images.targets
    return TestPredictions(tuple(images.ids), labels, (labels + 1) % 3, np.linspace(0.9, 0.5, len(images)))


def test_mistakes_have_a_map_for_the_predicted_and_the_right_class(make_images, make_model):
    images = make_images(30, side=16)
    sources = Sources(images, None, images, make_model(images))
    gallery = make_gallery(sources, _predictions(images), left=lambda: 99.0, seconds_per_pass=1e-4)
    assert len(gallery.looks) == 6 and "Grad-CAM" in gallery.notes["looks"] and not gallery.late
    image, predicted, right = gallery.looks[0]
    assert image.caption == gallery.mistakes[0].caption
    assert (predicted.caption, right.caption) == (
        "evidence for class1 (predicted)",
        "evidence for class0 (right)",
    )
    assert len({image.source, predicted.source, right.source}) == 3


def test_without_time_there_are_no_maps(images, make_model):
    sources = Sources(images, None, images, make_model(images))
    gallery = make_gallery(sources, _predictions(images), left=lambda: 0.1, seconds_per_pass=1e-4)
    assert gallery.mistakes and not gallery.looks and gallery.late


def test_wrong_labels_are_shown_with_their_probability(make_images, make_model):
    images = make_images(4, side=16)
    labels = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
    probabilities = np.array([[0.9, 0.1, 0.8], [0.2, 0.03, 0.3], [0.1, 0.2, 0.9], [0.4, 0.7, 0.6]])
    predictions = LabelTestPredictions(
        tuple(images.ids), labels, (probabilities >= 0.5).astype(np.int64), probabilities
    )
    sources = Sources(images, None, images, make_model(images))
    gallery = make_gallery(sources, predictions, left=lambda: 99.0, seconds_per_pass=1e-4)
    assert [picture.caption for picture in gallery.mistakes] == [
        "class1: missed (predicted 3.0 %)",
        "class2: not there (predicted 80.0 %)",
        "class0: missed (predicted 40.0 %)",
    ]
    assert gallery.notes["mistakes"].startswith("3 of 3 test images with a wrong label")
    assert [len(row) for row in gallery.looks] == [2, 2, 2]


def test_parts_of_an_image_that_do_not_count_become_gray():
    pixels = np.array([[[250, 0, 0]], [[250, 0, 0]]], dtype=np.uint8)
    faded = _faded(pixels, np.array([[1.0], [0.0]], dtype=np.float32))
    assert faded[0, 0].tolist() == [250, 0, 0] and len(set(faded[1, 0].tolist())) == 1
