"""Predict the classes of image files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shoestring.data import Images, decode_file
from shoestring.errors import UserError
from shoestring.models.inference import log_probabilities
from shoestring.models.model import Model


def predict_files(
    model: Model, files: Sequence[Path], *, top: int = 1, skip_bad: bool = False, log: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Return the `top` classes of each file with their probabilities, most probable first.

    Raises `UserError` for a file that is not an image; with `skip_bad`, such files are skipped and logged.
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
    return [
        {
            "image": str(file),
            "classes": [
                {"class": model.classes[i], "probability": round(float(row[i]), 5)} for i in (-row).argsort()[:top]
            ],
        }
        for file, row in zip(decoded, probabilities)
    ]
