"""Pictures of training images as the network sees them: augmented as in the middle of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shoestring.data import Images
from shoestring.data.augment import Augment
from shoestring.data.batches import Batches
from shoestring.data.contact_sheet import data_uri
from shoestring.models.model import Model
from shoestring.models.preprocessing import Preprocessing
from shoestring.reporting.pictures import Picture
from shoestring.runs.mistakes import label_of

_SHOWN, _EPOCHS = 6, 2  # images; epochs of each
_PROGRESS = 0.5  # of the training
AUGMENTED_SECONDS = 0.1  # that `make_augmented` takes, on an idle machine
_NOTE = (
    "Each box shows a training image, and what the network sees of it in two epochs: augmentation changes it each time "
    "in ways that do not change its class."
)
_MIXED = " Mixup also lays another image over some, and the network is to predict both classes in proportion."


def make_augmented(images: Images, model: Model, augment: Mapping[str, Any]) -> list[list[Picture]]:
    """Return, for a few of the images, the image and augmented versions of it; none without augmentation.

    `augment` holds the fields of `Augment`, as a plan does.
    """
    known = {field.name for field in fields(Augment)}
    values = {name: value for name, value in augment.items() if name in known}
    if not len(images) or not any(value for name, value in values.items() if name != "strength"):
        return []
    few = images[np.linspace(0, len(images) - 1, min(_SHOWN, len(images))).astype(np.int64)]
    settings = Augment(**{**values, "strength": tuple(values.get("strength", (1.0,)))})
    batches = Batches(few, model.prepare, size=len(few), augment=settings)
    names = [str(name) for name in few.ids]
    rows = [[Picture(data_uri(few.pixels[index]), name, label_of(few, index))] for index, name in enumerate(names)]
    for epoch in range(1, _EPOCHS + 1):
        batch = batches.draw(progress=_PROGRESS)
        for index, values_of_image in zip(batch.index.tolist(), batch.images):
            source = data_uri(_pixels(values_of_image, model.preprocessing))
            rows[index].append(Picture(source, names[index], f"epoch {epoch}"))
    return rows


def note_on(augment: Mapping[str, Any]) -> str:
    """Say what the pictures of `make_augmented` show."""
    return _NOTE + (_MIXED if augment.get("mixup") else "")


def _pixels(image: Tensor, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Convert network input (C, R, R) back to pixels (R, R, C)."""
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    colors = (image * std + mean).clamp(0, 1) * 255
    return colors.round().to(torch.uint8).permute(1, 2, 0).numpy()
