"""The plan for fine-tuning a network once it is pruned."""

from __future__ import annotations

from dataclasses import replace

from shoestring.config.plan import TrainPlan
from shoestring.config.recipe import Prune, Train
from shoestring.data.images import Images
from shoestring.evaluation.cost import count_macs
from shoestring.models.model import Model
from shoestring.planning.plan import MACS_POWER, Allotment, plan_training
from shoestring.planning.pretrained import is_pretrained
from shoestring.planning.profiling import Profiler

_FORWARD = 1 / 3  # of the time of a training step: the predictions of the original network, for distillation


def plan_recovery(
    model: Model, images: Images, settings: Train, prune: Prune, allotment: Allotment, profiler: Profiler
) -> TrainPlan:
    """Return the plan for fine-tuning a network after pruning; it is profiled before, as the cut is not known yet."""
    fraction = 1.0
    if prune.macs is not None:
        fraction = min(prune.macs.value if prune.macs.is_fraction else prune.macs.value / count_macs(model), 1.0)
    if settings.tune != "auto" or is_pretrained(settings):  # pruning changes every block
        settings = replace(settings, tune="all", frozen_views=None)
    faster = fraction**MACS_POWER  # below one: the pruned network is faster
    slowdown = faster + _FORWARD * prune.distil
    plan = plan_training(model, images, settings, allotment, profiler, slowdown=slowdown)
    times = replace(plan.times, train=slowdown * plan.times.train, predict=faster * plan.times.predict)
    plan = replace(plan, times=times)
    if plan.fine_tune is not None:
        plan = replace(plan, fine_tune=replace(plan.fine_tune, probe=False))
    return plan
