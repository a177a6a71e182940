"""Predict labeled images."""

from __future__ import annotations

from shoestring.data import Images
from shoestring.errors import UserError
from shoestring.evaluation.tasks import AnyPredictions, collect
from shoestring.models.inference import Predictor
from shoestring.models.model import Model


def predict(model: Model, images: Images) -> AnyPredictions:
    """Return the predictions of images that are labeled with the classes of the model.

    They are in full precision, with the test-time augmentation of the model. Raises `UserError` if outputs are NaN.
    """
    return collect(Predictor(model)(images), images)


def accuracy(model: Model, images: Images) -> float:
    """Return the fraction of images that the model classifies correctly. Raises `UserError` without images."""
    found = predict(model, images).accuracy
    if found is None:
        raise UserError("there are no images to measure the accuracy on: pass at least one.")
    return found
