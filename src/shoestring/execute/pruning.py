"""Prune a network and fine-tune it as planned."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from shoestring.budget import Budget
from shoestring.config.plan import TrainPlan
from shoestring.config.recipe import Prune
from shoestring.data import Images
from shoestring.data.labels import weighted_by_class
from shoestring.models.model import Model
from shoestring.pruning import shrink
from shoestring.runtime.context import Context
from shoestring.training.loop import Hooks, fit
from shoestring.training.progress import TrainingSummary

_CALIBRATION_IMAGES, _CALIBRATION_BATCH = 512, 128  # that layers compensate for removed channels on


def prune(
    model: Model,
    images: Images,
    requested: Prune,
    plan: TrainPlan | None,
    *,
    budget: Budget | None,
    context: Context,
    on_cut: Callable[[Model], object] = lambda model: None,
) -> tuple[Model, TrainingSummary | None]:
    """Return a pruned copy of the model, and a summary of its fine-tuning (None without a plan and budget).

    `on_cut` is called with the pruned model before it is fine-tuned.
    """
    sample = images[np.random.default_rng(context.seed).permutation(len(images))[:_CALIBRATION_IMAGES]]
    pixels = torch.from_numpy(sample.pixels).to(context.device)
    batches = [model.prepare(part) for part in pixels.split(_CALIBRATION_BATCH)]
    model.module.to(context.device)
    labels = None
    if sample.labels is not None and sample.labels.ndim == 1:  # not several labels for each image
        labels = list(torch.from_numpy(sample.labels).split(_CALIBRATION_BATCH))
    pruned = shrink(
        model,
        batches,
        method=requested.method,
        scope=requested.scope,
        compensate=requested.compensate,
        labels=labels,
        log=context.log,
        **requested.targets,
        **requested.options,
    )
    on_cut(pruned)
    if budget is None or plan is None:
        return pruned, None
    context.log("training the pruned network")
    images = weighted_by_class(images, plan.class_weights)
    return pruned, fit(pruned, images, budget.window("prune"), plan, context, Hooks(anytime=True))
