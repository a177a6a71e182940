"""Predict the classes of image files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.data import Images, decode_file
from shoestring.errors import UserError
from shoestring.escaping import write_csv
from shoestring.models.inference import log_probabilities
from shoestring.models.model import Model
from shoestring.runtime.files import atomic_write
from shoestring.tasks import MULTI_LABEL, THRESHOLD


def predict_files(
    model: Model, files: Sequence[Path], *, top: int | None = None, skip_bad: bool = False, log: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Return the `top` classes of each file with their probabilities, most probable first (default: one).

    If images may have several labels, these are by default the labels of at least 50 %, and the probabilities of all
    labels are returned as well. Raises `UserError` for a file that is not an image; with `skip_bad`, such files are
    skipped and logged.
    """
    size = model.preprocessing
    decoded, pixels = [], []
    for file in files:
        try:
            pixels.append(decode_file(file, resolution=size.resolution, channels=size.channels, fit=size.fit))
            decoded.append(file)
        except UserError as error:
            if not skip_bad:
                raise
            log(f"skipped: {error}")
    if not decoded:
        raise UserError("none of the files is an image.")
    names = np.array([str(file) for file in decoded])
    images = Images(np.stack(pixels), None, model.classes, names, fingerprint="")
    probabilities = np.exp(log_probabilities(model, images))
    return [{"image": str(file), **_described(model, row, top)} for file, row in zip(decoded, probabilities)]


def _described(model: Model, row: NDArray[np.float32], top: int | None) -> dict[str, Any]:
    """Return the predicted classes of an image with these probabilities (C,)."""
    several = model.task == MULTI_LABEL
    rounded = {name: round(float(value), 5) for name, value in zip(model.classes, row)}
    count = top or (sum(value >= THRESHOLD for value in rounded.values()) if several else 1)
    names = [model.classes[index] for index in (-row).argsort()[:count]]
    found: dict[str, Any] = {"classes": [{"class": name, "probability": rounded[name]} for name in names]}
    return found | ({"probabilities": rounded} if several else {})


def write_predictions(file: Path, predictions: Sequence[dict[str, Any]]) -> None:
    """Write predictions of `predict_files` as a CSV table: a row for each image.

    Its columns are the classes that were asked for and their probabilities, or 0 or 1 and the probability of each
    label.
    """
    if "probabilities" in predictions[0]:
        names = list(predictions[0]["probabilities"])
        header = [text for name in names for text in (name, f"{name} probability")]
        rows = [
            [cell for name, value in entry["probabilities"].items() for cell in (int(value >= THRESHOLD), value)]
            for entry in predictions
        ]
    else:
        count = len(predictions[0]["classes"])
        numbers = [""] if count == 1 else [f" {number}" for number in range(1, count + 1)]
        header = [text for number in numbers for text in (f"class{number}", f"probability{number}")]
        rows = [[cell for guess in entry["classes"] for cell in guess.values()] for entry in predictions]
    with atomic_write(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
        write_csv(out, ["image", *header], ([entry["image"], *row] for entry, row in zip(predictions, rows)))
