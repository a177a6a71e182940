"""Prune a network and fine-tune it as planned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shoestring.budget import Budget
from shoestring.config.plan import TrainPlan
from shoestring.config.recipe import Prune
from shoestring.data import Images
from shoestring.data.labels import weighted_by_class
from shoestring.errors import UserError
from shoestring.models.head_modules import class_scores
from shoestring.models.inference import autocast
from shoestring.models.model import Model
from shoestring.pruning import shrink
from shoestring.pruning.clustering.clustering import cluster
from shoestring.pruning.latency import Measurement
from shoestring.pruning.step_times import STEPS
from shoestring.runtime.context import Context
from shoestring.runtime.device import synchronize
from shoestring.training.distillation import Teacher
from shoestring.training.loop import Hooks, fit
from shoestring.training.progress import Constraint, TrainingSummary

OnCut = Callable[[Model, Mapping[str, tuple[int, int]] | None], object]
OnMeasured = Callable[[Measurement], object]

_CALIBRATION_IMAGES, _CALIBRATION_BATCH = 512, 128  # that layers compensate for removed channels on
_TIMED_IMAGES, _TIMING = 64, 0.05  # of a step that is timed; of the time that remains


@dataclass(frozen=True)
class Observer:
    """Functions that are called while a network is pruned.

    `on_cut` is called with the pruned model before it is fine-tuned (after it, if training pulls clusters together),
    and, if filters are clustered, with the numbers of channels and clusters by layer, otherwise with None.
    `on_measured` is called with each network that the search for a latency measures.
    """

    on_cut: OnCut = lambda model, clusters: None
    on_measured: OnMeasured = lambda measurement: None


def prune(
    model: Model,
    images: Images,
    requested: Prune,
    plan: TrainPlan | None,
    *,
    budget: Budget | None,
    context: Context,
    observer: Observer = Observer(),
) -> tuple[Model, TrainingSummary | None]:
    """Return a pruned copy of the model, and a summary of its fine-tuning (None without a plan and budget).

    Raises `UserError` for distillation and for centripetal clusters without fine-tuning.
    """
    if requested.distil and plan is None:
        raise UserError("--distil is a way to fine-tune: set a budget, such as --time 2m, or omit it.")
    if (
        requested.clusters is not None
        and requested.cluster_outcome == "centripetal"
        and (plan is None or budget is None)
    ):
        raise UserError("centripetal merges filters by training: set a budget, or use --cluster-outcome merge.")
    sample = images[np.random.default_rng(context.seed).permutation(len(images))[:_CALIBRATION_IMAGES]]
    pixels = torch.from_numpy(sample.pixels).to(context.device)
    batches = [model.prepare(part) for part in pixels.split(_CALIBRATION_BATCH)]
    model.module.to(context.device)
    teacher = Teacher.of(model) if requested.distil else None
    recovery: dict[str, Any] = {
        "images": images,
        "plan": plan,
        "budget": budget,
        "context": context,
        "teacher": teacher,
    }
    if requested.clusters is not None:
        recover = partial(_recover, **recovery)
        return _cluster(model, batches, requested, recover, observer.on_cut, context=context)
    labels = None
    if sample.labels is not None and sample.labels.ndim == 1:  # not several labels for each image
        labels = list(torch.from_numpy(sample.labels).split(_CALIBRATION_BATCH))
    assert requested.scope != "auto", "it is chosen by the plan"
    pruned = shrink(
        model,
        batches,
        method=requested.method,
        scope=requested.scope,
        compensate=requested.compensate,
        labels=labels,
        log=context.log,
        on_measured=observer.on_measured,
        step=_timed_step(batches[0], plan, budget),
        **requested.targets,
        **requested.options,
    )
    observer.on_cut(pruned, None)
    return pruned, _recover(pruned, **recovery)


def _timed_step(images: Tensor, plan: TrainPlan | None, budget: Budget | None) -> Callable[[nn.Module], None] | None:
    """A training step to time networks by; None if the budget is not a time, or timing would take too much of it.

    Batch norms need two images.
    """
    if plan is None or budget is None or budget.unit != "seconds":
        return None
    images = images[: min(plan.batch_size, _TIMED_IMAGES)]
    seconds = STEPS * plan.times.step(len(images))
    return partial(_step, images, plan.precision) if len(images) > 1 and seconds < _TIMING * budget.remaining else None


@torch.enable_grad()
def _step(images: Tensor, precision: str, module: nn.Module) -> None:
    """Run the forward and the backward pass of a training step."""
    with autocast(images.device, precision):
        scores = class_scores(module.train().to(memory_format=torch.channels_last)(images))  # type: ignore[call-overload]
    scores.float().square().mean().backward()
    synchronize(images.device)


def _cluster(
    model: Model,
    batches: list[Tensor],
    requested: Prune,
    recover: Callable[..., TrainingSummary | None],
    on_cut: OnCut,
    *,
    context: Context,
) -> tuple[Model, TrainingSummary | None]:
    """Return a copy of the model with its filters clustered, and a summary of its fine-tuning, which keeps clusters."""
    clustered = cluster(model, batches, requested, seed=context.seed, log=context.log)
    pruned = clustered.model
    if clustered.outcome != "centripetal":
        on_cut(pruned, clustered.counts)
        return pruned, recover(pruned, constrain=clustered.pull())
    summary = recover(pruned, constrain=clustered.pull())
    merged = clustered.merged(batches)
    on_cut(merged, clustered.counts)
    return merged, summary


def _recover(
    pruned: Model,
    *,
    images: Images,
    plan: TrainPlan | None,
    budget: Budget | None,
    context: Context,
    teacher: Teacher | None,
    constrain: Constraint | None = None,
) -> TrainingSummary | None:
    """Fine-tune the pruned network in place; return a summary, or None without a plan and budget."""
    if budget is None or plan is None:
        return None
    context.log("training the pruned network")
    images = weighted_by_class(images, plan.class_weights)
    hooks = Hooks(anytime=True, constrain=constrain, teacher=teacher)
    return fit(pruned, images, budget.window("prune"), plan, context, hooks)
