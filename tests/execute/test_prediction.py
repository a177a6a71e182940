"""Predictions of labeled images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shoestring.errors import UserError
from shoestring.execute import accuracy, predict
from shoestring.models.preprocessing import Preprocessing


def test_predictions_are_those_of_the_model(images, make_model):
    model = make_model(images)
    probabilities = model.predict_proba(images)
    found = predict(model, images)
    assert np.array_equal(found.predicted, probabilities.argmax(1)) and np.array_equal(found.labels, images.targets)
    assert found.confidence == pytest.approx(probabilities.max(1), abs=1e-5)
    assert accuracy(model, images) == float((probabilities.argmax(1) == images.targets).mean())


def test_accuracy_needs_images_and_numbers(images, make_model):
    model = make_model(images)
    with pytest.raises(UserError, match="no images to measure the accuracy on"):
        accuracy(model, images[:0])
    size = model.preprocessing
    broken = Preprocessing(size.resolution, 1, (0.0,), (1e-45,))  # pixels become infinite
    with pytest.raises(UserError, match="not numbers"):
        predict(replace(model, preprocessing=broken), images)
