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
# At other sizes, on average: some versions of Pillow round single pixels to other values, which changes the probability
# of a single image near the boundary of two classes by more.
_RESIZED_LIMIT = 0.02
_RECTANGLES = ((1.5, 2.0), (2.25, 1.4), (0.6, 0.85))  # height and width of other sizes, in sides of the square
_RESIZED_IMAGES = 8  # of each of these sizes


@dataclass(frozen=True)
class Parity:
    """Largest differences between the class probabilities of an exported model and of `Model.predict_proba`.

    `difference` is on `images` of the trained size, `resized_difference` on images of other sizes and proportions,
    `resized_mean` the mean over these of the largest difference of each, and `same_class` the fraction of all images
    with the same most probable class.
    """

    images: int
    difference: float
    resized_difference: float
    resized_mean: float
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
    resized = np.concatenate([_differences(*pair) for pair in pairs])
    same = np.concatenate([one.argmax(1) == other.argmax(1) for one, other in ((expected, found), *pairs)])
    exact = float(_differences(expected, found).max())
    return Parity(len(squares), exact, float(resized.max()), float(resized.mean()), float(same.mean()))


def check(parity: Parity, *, precision: str) -> None:
    """Raise `UserError` unless an export of this precision predicts the same as the model."""
    limit = _LIMITS[precision]
    for found, most, where in (
        (parity.difference, limit, "of the trained size, probabilities differ by up to"),
        (parity.resized_mean, max(limit, _RESIZED_LIMIT), "of other sizes, probabilities differ on average by"),
    ):
        if not found <= most:  # also if it is NaN
            hint = " Export it without --fp16." if precision == "float16" else ""
            raise UserError(
                f"the exported model does not predict what the model does: on images {where} {found:.2g}, and at most "
                f"{most:g} is expected. No file was written.{hint}"
            )


def _stretched(squares: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return images (n, H, W, C) as they could come: larger, smaller, of other proportions."""
    channels = [
        [np.asarray(Image.fromarray(channel).resize((shape[1], shape[0]))) for channel in np.moveaxis(image, 2, 0)]
        for image in squares
    ]
    return np.ascontiguousarray(np.moveaxis(np.array(channels, dtype=np.uint8), 1, 3))


def _differences(expected: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the largest difference between the probabilities of each image (N,)."""
    return np.abs(expected - found).max(1)
