"""Preflight check: whether the budget suffices for all steps, and whether the requested size can be reached.

If time is short, test-time augmentation is reduced first, and then the image size, before a budget is rejected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from shoestring.budget import Budget
from shoestring.config.plan import StepTimes
from shoestring.config.recipe import Prune, Train
from shoestring.data import Dataset
from shoestring.errors import BudgetTooSmall
from shoestring.evaluation.reserve import seconds_to_fit, seconds_to_predict
from shoestring.models.model import Model
from shoestring.models.preprocessing import Preprocessing
from shoestring.models.tta import expected_passes, tta_modes
from shoestring.planning.defaults import default_batch_size
from shoestring.planning.growth import requested_schedule
from shoestring.planning.model import choose_network, expected_preprocessing, measured_network, trial_network
from shoestring.planning.pretrained import is_pretrained
from shoestring.planning.proxy import measured_proxy
from shoestring.planning.request import Request
from shoestring.planning.requirements import PROXY_EPOCHS, Times, bottleneck, slow_times
from shoestring.planning.tta import CHOICES, with_tta
from shoestring.pruning import check_targets
from shoestring.pruning.clustering.clustering import cluster
from shoestring.training.setup import MIN_STEPS, prepare_growth

_MAX_CHECK = 0.25  # fraction of a time budget after which it is rejected without measuring again
_SAFETY_FACTOR = 1.25  # on the smallest budget that works, in the message
_MIN_SIDE = 32  # pixels to which images are reduced before a budget is rejected
_MIN_WIDTH = 0.25  # of the network "auto" if time is short


@dataclass(frozen=True)
class _Variant:
    """A variant of a run: the test-time augmentation and the reason for it, and the side of the images in pixels."""

    tta: str
    reason: str
    side: int


def fit_to_budget(request: Request) -> tuple[Request, dict[str, str]]:
    """Return the request with the strongest test-time augmentation and largest images that time allows; the reasons.

    If time is short, test-time augmentation is reduced first, and then the image size, unless the recipe sets them. The
    time for evaluation is reserved. A resumed run keeps its values.
    """
    *better, last = _variants(request)
    for variant in better:
        fitted = _apply(request, variant)
        if _fits(fitted):
            break
    else:
        variant = last
        fitted = _apply(request, variant)
    reason = "as requested" if request.recipe.resolution is not None else "that of the images, up to a limit"
    if variant.side != request.data.train.shape[0]:
        reason = "there is no time for larger images"
        request.context.log(f"resized the images to {variant.side} x {variant.side} pixels: {reason}")
        if request.context.distributed is not None:
            request.context.distributed.broadcast(("resize", variant.side))
    return fitted, {"tta": variant.reason, "resolution": reason}


def _variants(request: Request) -> list[_Variant]:
    """The variants to try, best first; only one if the run is resumed or the budget is not a time."""
    requested, stored, side = request.recipe.train, request.stored, request.data.train.shape[0]
    if request.model is not None:
        return [_Variant(tta_modes(request.model.preprocessing)[0], "that of the finished model", side)]
    if stored is not None:
        tta, reason = (stored.tta, "as before") if requested.tta == "auto" else (requested.tta, "as requested")
        return [_Variant(tta, reason, stored.resolution or side)]
    evaluated = len(request.data.validation) + len(request.data.test)
    settings, reason = with_tta(requested, request.data.train, evaluated=evaluated, profiler=request.profiler)
    strongest = settings.tta
    if not request.timed:
        return [_Variant(strongest, reason, side)]
    modes = CHOICES[CHOICES.index(strongest) :] if requested.tta == "auto" else [strongest]
    variants = [_Variant(mode, reason if mode == strongest else "there is no time for more", side) for mode in modes]
    fixed = request.recipe.resolution is not None or is_pretrained(requested)  # whose input has a side of its own
    while not fixed and side >= 2 * _MIN_SIDE:
        side //= 2
        variants.append(replace(variants[-1], side=side))
    return variants


def _apply(request: Request, variant: _Variant) -> Request:
    """The request with the values of a variant; the time for its evaluation is reserved."""
    recipe = replace(request.recipe, train=replace(request.recipe.train, tta=variant.tta))
    data = request.data if variant.side == request.data.train.shape[0] else request.data.resized(variant.side)
    model = request.model
    inputs = expected_preprocessing(data.train, recipe.train) if model is None else model.preprocessing
    reserve_evaluation(request.budget, data, inputs, pruned=request.prunes)
    return replace(request, recipe=recipe, data=data)


def reserve_evaluation(budget: Budget, data: Dataset, inputs: Preprocessing, *, pruned: bool = False) -> None:
    """Reserve the time for predicting the validation and test images with a model of this preprocessing.

    If the model is tested, the validation images are also predicted before it is `pruned`.
    """
    passes, classes = expected_passes(inputs), len(data.classes)
    values = max(math.prod(data.train.shape), inputs.channels * inputs.resolution**2)
    validation, test = len(data.validation), len(data.test)
    sizes = {"classes": classes, "values": values, "passes": passes}
    if pruned and test:
        seconds = seconds_to_predict(validation, **sizes)
        budget.reserve("validate", seconds, images=round(validation * passes))
    seconds = seconds_to_predict(validation + test, **sizes) + seconds_to_fit(validation, classes=classes)
    budget.reserve("evaluate", seconds, images=round((validation + test) * passes))


def _fits(request: Request) -> bool:
    """Whether the budget suffices for all steps."""
    try:
        _check_time(request, _network(request) if request.trains else None)
    except BudgetTooSmall:
        return False
    return True


def check_budget(request: Request) -> None:
    """Raise `BudgetTooSmall`, with the smallest one that works, unless each step can train for ten steps.

    Raises `UserError` if the network cannot be pruned to the requested size or cannot grow by the requested schedule.
    """
    network, settings = _network(request) if request.trains else None, request.recipe.train
    if network is not None:
        prepare_growth(network, requested_schedule(request.recipe.grow, settings))
    if request.prunes:
        _check_pruning(request.recipe.prune, network or request.model)
    _check_time(request, network)
    evaluated = request.model if request.prunes and network is None else network
    if request.timed and evaluated is not None:
        is_open = network is not None and _is_width_open(settings)
        typical = trial_network(request.data.train, request.profiler) if is_open else evaluated
        request.budget.seconds_per_pass = _profiled(request, typical, settings).predict


def _check_pruning(settings: Prune, network: Model | None) -> None:
    """Raise `UserError` for names and numbers that do not fit the network, and for targets that cannot be reached."""
    if network is None:
        return
    if settings.has_target:
        check_targets(network, settings.targets)
    elif settings.clusters is not None and settings.clusters.error is None:  # which would depend on the weights
        cluster(network, [], replace(settings, cluster_features="weights", cluster_method="agglomerative"))


def _network(request: Request) -> Model:
    """A network like the one to train, with the smallest width if "auto" fits it to the time."""
    settings, images = request.recipe.train, request.data.train
    if _is_width_open(settings):
        settings = replace(settings, width=_MIN_WIDTH if request.timed else None)
    network = choose_network(images, settings, count=len(images), seconds=None, profiler=request.profiler)
    return measured_network(network, images, settings, request.profiler)


def _is_width_open(settings: Train) -> bool:
    return settings.model == "auto" and not settings.starts_from_weights and settings.width is None


def _check_time(request: Request, network: Model | None) -> None:
    """Raise `BudgetTooSmall` unless each step can train for ten steps; the budget stays as it is."""
    before = request.budget.seconds_per_pass
    try:
        if short := _shortage(request, network):
            raise _too_small(request, *short)
    finally:
        request.budget.seconds_per_pass = before


def _shortage(request: Request, network: Model | None) -> tuple[str, float] | None:
    """The most critical step, and what all steps require because of it, if that is more than the budget has left.

    Networks are profiled only if the speed of a slow processor is not enough: ample budgets need no profiling, and a
    budget that suffices on any machine is never rejected. The reserve of the budget is left as it was estimated here.
    """
    budget, models = request.budget, _models(request, network)
    evaluated = network or request.model

    def shortage(times: Times) -> tuple[str, float] | None:
        if request.timed and evaluated is not None:
            budget.seconds_per_pass = times(evaluated, request.recipe.train).predict
        step, required = bottleneck(request, models, times)
        return None if required <= budget.remaining else (step, required)

    def profiled(again: bool) -> Times:
        return lambda model, settings: _optimistic(request, _profiled(request, model, settings, again=again))

    short = shortage(slow_times)
    if short and request.timed:
        short = shortage(profiled(again=False))
        if short and budget.spent < _MAX_CHECK * budget.total:  # the first training steps of a process can be slow
            short = shortage(profiled(again=True))
    return short


def _too_small(request: Request, step: str, required: float) -> BudgetTooSmall:
    """The error for a budget that does not cover what all steps require because of one of them."""
    budget, what = request.budget, "time" if request.timed else "budget"
    total = budget.spent + budget.reserved + _SAFETY_FACTOR * required
    why = f"the {what} allotted to '{step}' does not cover {MIN_STEPS} training steps"
    if step == PROXY_EPOCHS:
        why = f"--proxy-epochs {request.recipe.select.proxy_epochs:g} leaves too little for the rest"
    return budget.too_small(total, why=why)


def _models(request: Request, network: Model | None) -> dict[str, Model]:
    """The network that each step trains, before pruning; none for a step that trains none."""
    models = {}
    if request.trains_proxy:
        models["select"] = measured_proxy(request.data.train, request.recipe.select, request.profiler)
    network = network or request.model
    if network is not None:
        models |= {name: network for name in ("train", "prune") if name in request.steps}
    return models


def _profiled(request: Request, model: Model, settings: Train, *, again: bool = False) -> StepTimes:
    images = request.data.train
    size = settings.batch_size or default_batch_size(len(images), request.context.device)
    return request.profiler(model, images, settings, batch_size=size, again=again).times


def _optimistic(request: Request, times: StepTimes) -> StepTimes:
    """Times on an idle machine: if other processes were running, the measured times are those of one thread."""
    speedup = request.context.threads or 1 if times.crowded else 1
    return replace(times, train=times.train / speedup, predict=times.predict / speedup)
