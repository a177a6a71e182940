"""Run the frozen part of a network once for each view of each image, before its other blocks are trained."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from shoestring.budget import Window
from shoestring.evaluation.cost import mac_counter
from shoestring.models.folding import folded
from shoestring.models.frozen import FrozenPart, find_frozen_part
from shoestring.models.inference import autocast, default_batch_size
from shoestring.models.model import Model
from shoestring.runtime.context import Context
from shoestring.runtime.device import synchronize
from shoestring.training.progress import TrainingState

_MIN_FOLDED = 256  # images for which batch norms are folded
_MAX_FRACTION = 0.5  # of the time for the training: then no further view is computed


def frozen_part(model: Model) -> FrozenPart | None:
    """Return the part of a network before its first trainable weight, if it can be run alone."""
    return find_frozen_part(model, [name for name, weight in model.module.named_parameters() if weight.requires_grad])


def part_macs(model: Model, part: FrozenPart) -> int:
    """Return the multiply-accumulates of the frozen part for one image."""
    size = model.preprocessing
    image = torch.zeros(1, size.channels, size.resolution, size.resolution, device=_device(model))
    with mac_counter() as counter:
        part.outputs(image)
    return counter.macs


def run_frozen_part(state: TrainingState, window: Window, context: Context) -> None:
    """Compute the outputs of the frozen part for the planned views of all images; steps continue from these.

    If half of the time is spent before the first view is complete, each step runs the whole network.
    """
    fine_tune = state.plan.fine_tune
    views = 0 if fine_tune is None else fine_tune.views
    part = frozen_part(state.model) if views and context.distributed is None else None
    if part is None:
        return
    count = len(state.batches)
    context.log(f"running the frozen part of {state.model.name} on {count:,} images, {views} view{'s' * (views > 1)}")
    fast = frozen_part(folded(state.model)) if count * views >= _MIN_FOLDED else part
    done = _compute(state, fast or part, views, window)
    if done is None:
        context.log("there is no time for that: each step runs the whole network")
        return
    state.batches.outputs, state.stepper.forward = done, part.resume
    state.frozen_macs = part_macs(state.model, part)
    window.budget.charge(flops=2.0 * state.frozen_macs * count * len(done))


def _compute(state: TrainingState, part: FrozenPart, views: int, window: Window) -> Tensor | None:
    """The outputs (V, N, ...) of the views that there is time for; None without any."""
    timed, stored = window.budget.unit == "seconds", None
    for view in range(views):
        for rows, outputs in _outputs(state, part, view):
            if stored is None:
                stored = outputs.new_empty((views, len(state.batches), *outputs.shape[1:]))
            stored[view, rows] = outputs
            if timed and window.fraction > _MAX_FRACTION:
                return stored[:view] if view else None
    return stored


def _outputs(state: TrainingState, part: FrozenPart, view: int) -> Iterator[tuple[Tensor, Tensor]]:
    device = _device(state.model)
    for rows in torch.arange(len(state.batches), device=device).split(default_batch_size(state.model)):
        with autocast(device, state.plan.precision):
            outputs = part.outputs(state.batches.view(rows, view))
        synchronize(device)
        yield rows, outputs


def _device(model: Model) -> torch.device:
    return next(model.module.parameters()).device
