"""What a training requires at least of a budget: ten steps, or the fit of a head."""

from __future__ import annotations

from collections.abc import Callable

from shoestring.config.plan import TRAINING_FLOPS_PER_MAC, StepTimes
from shoestring.config.recipe import Train
from shoestring.evaluation.cost import count_macs
from shoestring.models.model import Model
from shoestring.planning.defaults import MIN_BATCH, default_batch_size
from shoestring.planning.optimizer import choose_optimizer
from shoestring.planning.profiling import Profiler
from shoestring.training.optimizer import update_flops
from shoestring.training.setup import MIN_STEPS

# Images whose training takes as long as the profiling of a step, at worst: of small and of pretrained networks.
_OVERHEAD, _PRETRAINED_OVERHEAD = 1000, 200
_CALLS = 20  # of a step while it is profiled, at most: a few images take less time
_PROBED = 200  # images whose features a head is fitted to
_SLOW = 5e9  # FLOPs per second that any processor reaches, also if other processes run

Times = Callable[[Model, Train], StepTimes]  # estimates the times of a network


def probe_cost(profiler: Profiler, model: Model, settings: Train, *, count: int, times: Times) -> float:
    """Return the cost of fitting a head to the features of some images and of profiling, in the unit of the budget."""
    if profiler.budget.unit == "epochs":
        return 1.0
    if profiler.budget.unit == "flops":
        return 2.0 * count_macs(model) * count
    measured = times(model, settings)
    return min(count, _PROBED) * measured.predict + min(_PRETRAINED_OVERHEAD, _CALLS * count) * measured.train


def steps_cost(profiler: Profiler, model: Model, settings: Train, *, count: int, times: Times) -> float:
    """Return the cost of ten training steps and of profiling, in the unit of the budget."""
    size = min(settings.batch_size or default_batch_size(count, profiler.context.device), count)
    if profiler.budget.unit == "epochs":
        return MIN_STEPS * size / count
    if profiler.budget.unit == "flops":
        return MIN_STEPS * TRAINING_FLOPS_PER_MAC * count_macs(model) * size
    measured = times(model, settings)
    smallest = settings.batch_size or min(size, MIN_BATCH)
    return MIN_STEPS * measured.step(smallest) + min(_OVERHEAD, _CALLS * count) * measured.train


def slow_times(model: Model, settings: Train) -> StepTimes:
    """Return times on a slow processor, without profiling."""
    macs = count_macs(model)
    update = update_flops(model, choose_optimizer(model, settings)) / _SLOW
    return StepTimes(TRAINING_FLOPS_PER_MAC * macs / _SLOW, 2 * macs / _SLOW, update)
