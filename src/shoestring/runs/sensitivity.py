"""What pruning each layer of a finished run would cost, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shoestring.config.recipe import Recipe
from shoestring.data import Images, load
from shoestring.models.model import Model
from shoestring.planning.criterion import choose_criterion
from shoestring.pruning.sensitivity import measure_sensitivity
from shoestring.runs.directory import RunDir
from shoestring.runs.inputs import check_same_images
from shoestring.runs.loading import load_arguments
from shoestring.runs.models import final_model
from shoestring.runtime.context import Context

_CALIBRATION_IMAGES, _HELD_OUT_IMAGES, _BATCH = 512, 1000, 128


def scan(recipe: Recipe, folder: RunDir, *, context: Context, started: float | None = None) -> dict[str, Any]:
    """Return the sensitivity of each layer of the run to start from, as plain values; nothing is written.

    Predictions are compared on validation images, or on training images where there are none.
    """
    assert recipe.start is not None
    model, origin = final_model(Path(recipe.start)), RunDir(Path(recipe.start))
    context.log(f"loading {recipe.data}")
    data = load(**load_arguments(recipe, origin))
    check_same_images(origin, data.train)
    model.module.to(context.device)
    settings, _ = choose_criterion(recipe.prune, trained=True)
    held_out = data.validation if len(data.validation) else data.train
    context.log(f"pruning each layer alone, by {settings.method}")
    batches, labels = _sample(model, data.train, _CALIBRATION_IMAGES, context)
    rows = measure_sensitivity(
        model,
        batches,
        method=settings.method,
        labels=labels,
        held_out=_sample(model, held_out, _HELD_OUT_IMAGES, context),
        compensate=settings.compensate,
        progress=lambda fraction: context.on_progress("sensitivity", fraction, {}),
        **settings.options,
    )
    return {
        "method": settings.method,
        "images": min(len(held_out), _HELD_OUT_IMAGES),
        "split": "validation" if len(data.validation) else "train",
        "groups": [row for one in rows for row in one.as_rows()],
    }


def _sample(model: Model, images: Images, count: int, context: Context) -> tuple[list[Tensor], list[Tensor] | None]:
    """Return random images as preprocessed batches on the device, and their labels."""
    sample = images[np.random.default_rng(context.seed).permutation(len(images))[:count]]
    pixels = torch.from_numpy(sample.pixels).to(context.device)
    known = sample.labels is not None and sample.labels.ndim == 1  # not several labels for each image
    labels = list(torch.from_numpy(sample.labels).split(_BATCH)) if known else None
    return [model.prepare(part) for part in pixels.split(_BATCH)], labels
