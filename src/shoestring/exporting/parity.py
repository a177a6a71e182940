"""Proof that an exported model predicts what the model predicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shoestring.data.decode import resize
from shoestring.errors import UserError
from shoestring.models.model import Model
from shoestring.models.tta import tta_modes

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

_LIMITS = {"float32": 1e-4, "float16": 0.05}  # of the difference between probabilities, at the trained size
_RESIZED_LIMIT = 0.03  # at other sizes, where a pixel may be rounded to another value: at most 0.026 in measurements
_RECTANGLES = ((1.5, 2.0), (2.25, 1.4), (0.6, 0.85))  # height and width of other sizes, in sides of the square
_RESIZED_IMAGES = 8  # of each of these sizes


@dataclass(frozen=True)
class Parity:
    """Largest differences between the class probabilities of an exported model and of `Model.predict_proba`.

    `difference` is on `images` of the trained size, `resized_difference` on images of other sizes and proportions, and
    `same_class` the fraction of all of these with the same most probable class.
    """

    images: int
    difference: float
    resized_difference: float
    same_class: float


def with_tta(model: Model, tta: str | None) -> Model:
    """Return the model with this test-time augmentation: "none", "flip" or "crops"; None keeps its own.

    Raises `UserError` for one that the model does not have.
    """
    modes = tta_modes(model.preprocessing)
    if tta is None:
        return model
    if tta not in modes:
        raise UserError(f"--tta {tta} is not possible: this model predicts with {' or '.join(modes)}.")
    mirror = model.preprocessing.mirror and tta != "none"
    shift = model.preprocessing.shift if tta == "crops" else 0
    return replace(model, preprocessing=replace(model.preprocessing, mirror=mirror, shift=shift))


def compare(model: Model, predict: Predict, images: NDArray[np.uint8]) -> Parity:
    """Compare the predictions of a model and of its export on images (N, H, W, C)."""
    size = model.preprocessing
    squares = resize(images, resolution=size.resolution, channels=size.channels, fit=size.fit)
    expected, found = model.predict_proba(squares), predict(squares)
    pairs = []
    for height, width in _RECTANGLES:
        shape = (max(1, round(height * size.resolution)), max(1, round(width * size.resolution)))
        rectangles = _stretched(squares[:_RESIZED_IMAGES], shape)
        pairs.append((model.predict_proba(rectangles), predict(rectangles)))
    differences = [_difference(*pair) for pair in pairs]
    same = np.concatenate([one.argmax(1) == other.argmax(1) for one, other in ((expected, found), *pairs)])
    return Parity(len(squares), _difference(expected, found), max(differences), float(same.mean()))


def check(parity: Parity, *, precision: str) -> None:
    """Raise `UserError` unless an export of this precision predicts the same as the model."""
    limit = _LIMITS[precision]
    for found, most, where in (
        (parity.difference, limit, "of the trained size"),
        (parity.resized_difference, max(limit, _RESIZED_LIMIT), "of other sizes"),
    ):
        if not found <= most:  # also if it is NaN
            hint = " Export it without --fp16." if precision == "float16" else ""
            raise UserError(
                f"the exported model does not predict what the model does: on images {where}, probabilities differ by "
                f"up to {found:.2g}, and at most {most:g} is expected. No file was written.{hint}"
            )


def _stretched(squares: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return images (n, H, W, C) as they could come: larger, smaller, of other proportions."""
    channels = [
        [np.asarray(Image.fromarray(channel).resize((shape[1], shape[0]))) for channel in np.moveaxis(image, 2, 0)]
        for image in squares
    ]
    return np.ascontiguousarray(np.moveaxis(np.array(channels, dtype=np.uint8), 1, 3))


def _difference(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    return float(np.abs(expected - found).max())
