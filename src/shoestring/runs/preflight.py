"""Preflight check: whether the budget suffices for all steps, and whether the requested size can be reached."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from shoestring.config.plan import StepTimes
from shoestring.config.recipe import Train
from shoestring.data import Dataset, Images
from shoestring.errors import BudgetTooSmall
from shoestring.models.model import Model
from shoestring.planning.defaults import default_batch_size
from shoestring.planning.growth import requested_schedule
from shoestring.planning.model import Network, build_network, choose_network
from shoestring.planning.pretrained import is_pretrained, with_weights
from shoestring.planning.proxy import PROXY, needs_proxy
from shoestring.planning.requirements import Times, probe_cost, slow_times, steps_cost
from shoestring.planning.tta import CHOICES, with_tta
from shoestring.pruning import shrink
from shoestring.runs.session import Run
from shoestring.runtime import threads
from shoestring.selection.subset_files import load_subset
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


def fit_to_budget(run: Run, data: Dataset) -> tuple[Run, Dataset]:
    """Return the run and its images, with the strongest test-time augmentation and largest images that time allows.

    If time is short, test-time augmentation is reduced first, and then the image size, unless the recipe sets them. The
    time for evaluation is reserved. A resumed run keeps its values.
    """
    run = replace(run, recipe=replace(run.recipe, train=with_weights(run.recipe.train)))
    *better, last = _variants(run, data)
    for variant in better:
        fitted, images = _apply(run, data, variant)
        if _fits(fitted, images.train):
            break
    else:
        variant = last
        fitted, images = _apply(run, data, variant)
    side = variant.side
    reason = "as requested" if run.recipe.resolution is not None else "that of the images, up to a limit"
    if side != data.train.shape[0]:
        reason = "there is no time for larger images"
        run.context.log(f"resized the images to {side} x {side} pixels: {reason}")
    return replace(fitted, reasons={"tta": variant.reason, "resolution": reason}), images


def _variants(run: Run, data: Dataset) -> list[_Variant]:
    """The variants to try, best first; only one if the run is resumed or the budget is not a time."""
    requested, recorded, side = run.recipe.train, run.folder.run, data.train.shape[0]
    if run.recipe.start is not None:
        return [_Variant(requested.tta, "that of the finished run", side)]
    timed = run.budget.unit == "seconds"
    if (stored := _stored_values(recorded)) is not None:
        tta, stored_side = stored
        tta, reason = (tta, "as before") if requested.tta == "auto" else (requested.tta, "as requested")
        return [_Variant(tta, reason, stored_side or side)]
    strongest, reason = _tta(run, data)
    if not timed:
        return [_Variant(strongest, reason, side)]
    modes = CHOICES[CHOICES.index(strongest) :] if requested.tta == "auto" else [strongest]
    variants = [_Variant(mode, reason if mode == strongest else "there is no time for more", side) for mode in modes]
    fixed = run.recipe.resolution is not None or is_pretrained(requested)  # whose input has a side of its own
    while not fixed and run.context.distributed is None and side >= 2 * _MIN_SIDE:
        side //= 2
        variants.append(replace(variants[-1], side=side))
    return variants


def _stored_values(content: dict[str, Any]) -> tuple[str, int | None] | None:
    """Test-time augmentation and image size in run.json; None if the run has not been planned yet."""
    if "plan" in content:
        return content["plan"]["tta"], content["plan"]["resolution"]
    if "views" in content:  # written by the previous version
        tta: str = content["views"]
        return ("none" if tta == "one" else tta), content.get("side")
    return None


def _tta(run: Run, data: Dataset) -> tuple[str, str]:
    """The strongest test-time augmentation that evaluation has time for, and the reason."""
    evaluated = len(data.validation) + len(data.test)
    with run.budget.track("forecast"):
        settings, reason = with_tta(run.recipe.train, data.train, evaluated=evaluated, profiler=run.profiler)
    return settings.tta, reason


def _apply(run: Run, data: Dataset, variant: _Variant) -> tuple[Run, Dataset]:
    """The run and its images with the values of a variant; the time for its evaluation is reserved."""
    fitted = replace(run, recipe=replace(run.recipe, train=replace(run.recipe.train, tta=variant.tta)))
    images = data if variant.side == data.train.shape[0] else data.resized(variant.side)
    fitted.reserve(images)
    return fitted, images


def _fits(run: Run, images: Images) -> bool:
    """Whether the budget suffices for all steps."""
    try:
        with run.budget.track("forecast"), threads.single_thread(run.context.threads):
            _check_time(run, images, None if run.recipe.start else _network(run, images))
    except BudgetTooSmall:
        return False
    return True


def check_budget(run: Run, images: Images) -> None:
    """Raise `BudgetTooSmall`, with the smallest one that works, unless each step of the run can train for ten steps.

    `images` are the candidates for selection. Raises `UserError` if the network cannot be pruned to the requested size
    or cannot grow by the requested schedule.
    """
    network = None if run.recipe.start else _network(run, images)
    with threads.single_thread(run.context.threads):
        if network is not None:
            _check_shape(run, network)
        _check_time(run, images, network)
    if run.budget.unit == "seconds" and network is not None and run.recipe.train.model != "auto":
        run.budget.seconds_per_pass = _profiled(run, images, network, run.recipe.train).predict


def _check_shape(run: Run, network: Model) -> None:
    recipe = run.recipe
    prepare_growth(network, requested_schedule(recipe.grow, recipe.train))
    if recipe.prune.enabled:
        macs, params = recipe.prune.macs, recipe.prune.params
        shrink(network, [], method="random", macs=macs, params=params, log=lambda text: None)


def _network(run: Run, images: Images) -> Model:
    """A network like the one to train, with the smallest width if "auto" fits it to the time."""
    settings = run.recipe.train
    if settings.model == "auto" and not settings.starts_from_weights and settings.width is None:
        settings = replace(settings, width=_MIN_WIDTH if run.budget.unit == "seconds" else None)
    network = choose_network(images, settings, count=len(images), seconds=None, profiler=run.profiler)
    return build_network(network, images, settings, seed=run.context.seed)


def _check_time(run: Run, images: Images, network: Model | None) -> None:
    """Raise `BudgetTooSmall` unless each step of the run can train for ten steps.

    Networks are profiled only if the speed of a slow processor is not enough: ample budgets need no profiling, and a
    budget that suffices on any machine is never rejected.
    """
    recipe, budget = run.recipe, run.budget
    subset = recipe.select.subset
    selected = recipe.select.examples if subset is None else len(load_subset(subset, images))
    examples = min(selected or len(images), len(images))
    models = {name: model for name, model in _models(run, images, network).items() if model is not None}

    def shortage(times: Times) -> tuple[str, float] | None:
        step, required = _bottleneck(run, images, models, examples, times)
        return None if required <= budget.remaining else (step, required)

    def profiled(again: bool) -> Times:
        return lambda model, settings: _optimistic(run, _profiled(run, images, model, settings, again=again))

    short = shortage(slow_times)
    if short and budget.unit == "seconds":
        short = shortage(profiled(again=False))
        if short and budget.spent < _MAX_CHECK * budget.total:  # the first training steps of a process can be slow
            short = shortage(profiled(again=True))
    if not short:
        return
    step, required = short
    total = budget.spent + budget.reserved + _SAFETY_FACTOR * required
    what = "time" if budget.unit == "seconds" else "budget"
    raise budget.too_small(total, why=f"the {what} allotted to '{step}' does not cover {MIN_STEPS} training steps")


def trains_proxy(run: Run, images: Images) -> bool:
    """Return whether the run will train a proxy model for its selection."""
    (settings, _), selected = run.selection(images), (run.folder / "select" / "subset.json").exists()
    return settings is not None and not selected and needs_proxy(settings, images)


def _models(run: Run, images: Images, network: Model | None) -> dict[str, Model | None]:
    """The network that each step trains; None if it trains none, or the network of another run."""
    proxy = None
    if trains_proxy(run, images):
        proxy = build_network(Network("convnet", {"width": PROXY.width}), images, PROXY, seed=run.context.seed)
    return {name: proxy if name == "select" else network for name in run.budget.weights}


def _bottleneck(run: Run, images: Images, models: dict[str, Model], examples: int, times: Times) -> tuple[str, float]:
    """The step whose part of the budget is most critical, and the total that all steps require because of it."""
    weights = {name: run.budget.weights[name] for name in models}  # other steps train nothing, and need no part
    fractions = {name: weight / sum(weights.values()) for name, weight in weights.items()}
    required = {"none": 0.0}
    for name, model in models.items():
        settings, count = (PROXY, len(images)) if name == "select" else (run.recipe.train, examples)
        head_only = name == "train" and settings.weights == "pretrained"  # enough, at worst
        cost = probe_cost if head_only else steps_cost
        required[name] = cost(run.profiler, model, settings, count=count, times=times) / fractions[name]
    step = max(required, key=required.__getitem__)
    return step, required[step]


def _profiled(run: Run, images: Images, model: Model, settings: Train, *, again: bool = False) -> StepTimes:
    size = settings.batch_size or default_batch_size(len(images), run.context.device)
    return run.profiler(model, images, settings, batch_size=size, again=again).times


def _optimistic(run: Run, times: StepTimes) -> StepTimes:
    """Times on an idle machine: if other processes were running, the measured times are those of one thread."""
    speedup = run.context.threads or 1 if times.crowded else 1
    return replace(times, train=times.train / speedup, predict=times.predict / speedup)
