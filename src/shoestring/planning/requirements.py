"""What the steps of a run require at least of a budget: ten training steps, or the fit of a head."""

from __future__ import annotations

from collections.abc import Callable

from shoestring.config.plan import TRAINING_FLOPS_PER_MAC, StepTimes
from shoestring.config.recipe import Train
from shoestring.evaluation.cost import count_macs
from shoestring.models.model import Model
from shoestring.planning.defaults import MIN_BATCH, default_batch_size
from shoestring.planning.optimizer import choose_optimizer
from shoestring.planning.profiling import Profiler
from shoestring.planning.proxy import proxy_settings
from shoestring.planning.request import Request
from shoestring.training.optimizer import update_flops
from shoestring.training.setup import MIN_STEPS

# Images whose training takes as long as the profiling of a step, at worst: of small and of pretrained networks.
_OVERHEAD, _PRETRAINED_OVERHEAD = 1000, 200
_CALLS = 20  # of a step while it is profiled, at most: a few images take less time
_PROBED = 200  # images whose features a head is fitted to
_SLOW = 5e9  # FLOPs per second that any processor reaches, also if other processes run
PROXY_EPOCHS = "proxy epochs"  # the critical step if the epochs of the proxy take most of the time

Times = Callable[[Model, Train], StepTimes]  # estimates the times of a network


def bottleneck(request: Request, models: dict[str, Model], times: Times) -> tuple[str, float]:
    """Return the step whose part of the budget is most critical, and the total that all steps require because of it."""
    weights, order, train = request.budget.weights, list(request.budget.weights), request.recipe.train
    models, proxy, fixed = dict(models), proxy_settings(request.recipe.select), 0.0
    if request.recipe.select.proxy_epochs is not None and "select" in models:  # has no part of the budget
        fixed = _seconds_of_epochs(request, models.pop("select"), proxy, times)
    first = min((order.index(name) for name in request.steps if name in order), default=0)  # earlier ones are done
    to_come = [name for name in order[first:] if name in models or name not in request.steps]  # others need no part
    total = sum(weights[name] for name in to_come)
    required = {"none": 0.0}
    for name, model in models.items():
        settings, count = (proxy, len(request.data.train)) if name == "select" else (train, request.examples)
        head_only = name == "train" and settings.weights == "pretrained"  # enough, at worst
        cost = _probe_cost if head_only else _steps_cost
        fraction = weights[name] / total if name in weights else 1.0
        required[name] = cost(request.profiler, model, settings, count=count, times=times) / fraction
    step = max(required, key=required.__getitem__)
    return step if required[step] >= fixed else PROXY_EPOCHS, required[step] + fixed


def _seconds_of_epochs(request: Request, model: Model, settings: Train, times: Times) -> float:
    """The time that the requested epochs of the proxy take; 0 if the budget is not a time."""
    epochs, count = request.recipe.select.proxy_epochs, len(request.data.train)
    if epochs is None or not request.timed:
        return 0.0
    size = min(default_batch_size(count, request.context.device), count)
    return epochs * count / size * times(model, settings).step(size)


def _probe_cost(profiler: Profiler, model: Model, settings: Train, *, count: int, times: Times) -> float:
    """The cost of fitting a head to the features of some images and of profiling, in the unit of the budget."""
    if profiler.budget.unit == "epochs":
        return 1.0
    if profiler.budget.unit == "flops":
        return 2.0 * count_macs(model) * count
    measured = times(model, settings)
    return min(count, _PROBED) * measured.predict + min(_PRETRAINED_OVERHEAD, _CALLS * count) * measured.train


def _steps_cost(profiler: Profiler, model: Model, settings: Train, *, count: int, times: Times) -> float:
    """The cost of ten training steps and of profiling, in the unit of the budget."""
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
