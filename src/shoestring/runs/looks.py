"""Pictures of where the network looks: class activation maps of a few mistakes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.data import Images
from shoestring.data.contact_sheet import data_uri
from shoestring.models.activation_maps import activation_maps
from shoestring.models.model import Model
from shoestring.reporting.pictures import Picture
from shoestring.runs.mistakes import Mistakes

_SHOWN = 6  # mistakes
_PASSES, _SETUP_SECONDS = 6, 0.2  # time of the maps of an image in forward passes, and of the first one
_GRAY, _KEPT = 128, 0.2  # what faded parts become: this gray, and so much of the difference from it
NOTE = (
    "Where the network finds evidence for a class (Grad-CAM, Selvaraju et al. 2017): parts that are faded to gray do "
    "not count for it. Each box shows a mistake; the maps are as coarse as the last features of the network, and show "
    "where it looks, not why."
)


def seconds_for_looks(seconds_per_pass: float) -> float:
    """Return about how long `make_looks` takes."""
    return _SETUP_SECONDS + _SHOWN * _PASSES * seconds_per_pass


def make_looks(model: Model, test: Images, mistakes: Mistakes) -> list[list[Picture]]:
    """Return, for each of a few mistakes, the image and its maps; none for networks without feature maps."""
    indices = mistakes.indices[:_SHOWN]
    if not indices:
        return []
    images, about = test[indices], np.array(mistakes.classes[:_SHOWN], dtype=np.int64)
    maps = activation_maps(model, images, about)
    if maps is None:
        return []
    roles = ("evidence for {} (predicted)", "evidence for {} (right)") if about.shape[1] == 2 else ("evidence for {}",)
    rows = []
    for number, picture in enumerate(mistakes.pictures[:_SHOWN]):
        row = [Picture(picture.source, picture.name, picture.caption)]
        for which, role in enumerate(roles):
            source = data_uri(_faded(images.pixels[number], maps[number, which]))
            row.append(Picture(source, picture.name, role.format(test.classes[about[number, which]])))
        rows.append(row)
    return rows


def _faded(pixels: NDArray[np.uint8], weights: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Fade the pixels (H, W, C) of an image to gray where weights (H, W) are low."""
    gray = _GRAY + _KEPT * (pixels.mean(2, keepdims=True) - _GRAY)
    strength = weights[:, :, None]
    return (strength * pixels + (1 - strength) * gray).round().clip(0, 255).astype(np.uint8)
