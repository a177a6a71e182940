"""Preflight check: whether the budget can hold all steps, and whether the requested size can be reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from shoestring.config.plan import TRAINING_FLOPS_PER_MAC, StepTimes
from shoestring.config.recipe import Train
from shoestring.data import Dataset, Images
from shoestring.errors import BudgetTooSmall
from shoestring.evaluation.cost import count_macs
from shoestring.models.model import Model
from shoestring.planning.defaults import SMALLEST, default_batch_size
from shoestring.planning.growth import requested_schedule
from shoestring.planning.model import Network, build_network, choose_network
from shoestring.planning.optimizer import choose_optimizer
from shoestring.planning.proxy import PROXY, needs_proxy
from shoestring.planning.tta import CHOICES, with_tta
from shoestring.pruning import shrink
from shoestring.runs.session import Run
from shoestring.runtime import threads
from shoestring.selection.subset_files import load_subset
from shoestring.training.optimizer import update_flops
from shoestring.training.setup import MIN_STEPS, prepare_growth

_OVERHEAD = 1000  # images whose training takes as long as profiling before a step, at worst
_LONGEST_CHECK = 0.25  # fraction of a time budget after which it is refused without measuring again
_CAUTION = 1.25
_SLOW = 5e9  # operations per second that any processor reaches, also beside other work
_SMALLEST_SIDE = 32  # pixels to which images are made smaller before a budget is refused
_NARROW = 0.25  # width of the network that "auto" takes where time is short

Times = Callable[[Model, Train], StepTimes]


@dataclass(frozen=True)
class _Way:
    """A way to run a recipe: the test-time augmentation, and the side of the images in pixels."""

    tta: str
    side: int


def settle(run: Run, data: Dataset) -> tuple[Run, Dataset]:
    """The run and its images, with as much test-time augmentation and as large images as the time allows.

    Where the budget is too small for all of it, there is less test-time augmentation, and then images are made smaller,
    unless the recipe says otherwise. What evaluation takes is reserved. A run that was begun keeps its answers.
    """
    *better, last = _ways(run, data)
    for way in better:
        settled, images = _taken(run, data, way)
        if _fits(settled, images.train):
            break
    else:
        way = last
        settled, images = _taken(run, data, way)
    if way.side != data.train.shape[0]:
        run.context.log(f"images are made {way.side} x {way.side} pixels, as the time is too short for larger ones")
    return settled, images


def _ways(run: Run, data: Dataset) -> list[_Way]:
    """The ways to try, the best first; only one where it is known already or the budget is not a time."""
    requested, before, side = run.recipe.train, run.folder.run, data.train.shape[0]
    if run.recipe.start is not None:
        return [_Way(requested.tta, side)]
    timed = run.budget.unit == "seconds"
    if (settled := _settled(before)) is not None:
        tta, before_side = settled
        return [_Way(tta if requested.tta == "auto" else requested.tta, before_side or side)]
    most = _tta(run, data)
    if not timed:
        return [_Way(most, side)]
    names = CHOICES[CHOICES.index(most) :] if requested.tta == "auto" else [most]
    ways = [_Way(name, side) for name in names]
    while run.recipe.resolution is None and run.context.distributed is None and side >= 2 * _SMALLEST_SIDE:
        side //= 2
        ways.append(_Way(names[-1], side))
    return ways


def _settled(content: dict[str, Any]) -> tuple[str, int | None] | None:
    """Test-time augmentation and side of the images of a run that was begun, as run.json has them."""
    if "plan" in content:
        return content["plan"]["tta"], content["plan"]["resolution"]
    if "views" in content:  # of the version before
        tta: str = content["views"]
        return ("none" if tta == "one" else tta), content.get("side")
    return None


def _tta(run: Run, data: Dataset) -> str:
    """Return the most expensive test-time augmentation that evaluation has time for."""
    evaluated = len(data.validation) + len(data.test)
    with run.budget.track("forecast"):
        return with_tta(run.recipe.train, data.train, evaluated=evaluated, profiler=run.profiler).tta


def _taken(run: Run, data: Dataset, way: _Way) -> tuple[Run, Dataset]:
    """The run and its images in this way; what evaluation will take is reserved."""
    settled = replace(run, recipe=replace(run.recipe, train=replace(run.recipe.train, tta=way.tta)))
    images = data if way.side == data.train.shape[0] else data.resized(way.side)
    settled.reserve(images)
    return settled, images


def _fits(run: Run, images: Images) -> bool:
    """Whether the budget can hold all steps."""
    try:
        with run.budget.track("forecast"), threads.single_thread(run.context.threads):
            _check_time(run, images, None if run.recipe.start else _network(run, images))
    except BudgetTooSmall:
        return False
    return True


def check_budget(run: Run, images: Images) -> None:
    """Raise `BudgetTooSmall`, naming the smallest that works, if a step could not train for ten steps.

    `images` are the candidates for selection. Raises `UserError` if a new network of the recipe cannot be pruned to the
    size, or cannot grow as the recipe says.
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
    """A network like the one to train, the narrowest where "auto" fits the width to the time."""
    settings = run.recipe.train
    if settings.model == "auto" and settings.weights is None and settings.width is None:
        settings = replace(settings, width=_NARROW if run.budget.unit == "seconds" else None)
    network = choose_network(images, settings, count=len(images), seconds=None, profiler=run.profiler)
    return build_network(network, images, settings, seed=run.context.seed)


def _check_time(run: Run, images: Images, network: Model | None) -> None:
    """Raise `BudgetTooSmall` if a step could not train for ten steps.

    Networks are profiled only if the speed of a slow processor is not enough: time is not spent on profiling where it
    is ample, and what any machine can hold is refused on none.
    """
    recipe, budget = run.recipe, run.budget
    subset = recipe.select.subset
    selected = recipe.select.examples if subset is None else len(load_subset(subset, images))
    examples = min(selected or len(images), len(images))
    models = {name: model for name, model in _models(run, images, network).items() if model is not None}

    def lacking(times: Times) -> tuple[str, float] | None:
        found = _tightest(run, images, models, examples, times)
        return None if found[1] <= budget.remaining else found

    def profiled(again: bool) -> Times:
        return lambda model, settings: _optimistic(run, _profiled(run, images, model, settings, again=again))

    lack = lacking(_slow_times)
    if lack and budget.unit == "seconds":
        lack = lacking(profiled(again=False))
        if lack and budget.spent < _LONGEST_CHECK * budget.total:  # the first steps of a process can be slow
            lack = lacking(profiled(again=True))
    if not lack:
        return
    tightest, least = lack
    total = budget.spent + budget.reserved + _CAUTION * least
    raise budget.too_small(total, why=f"{MIN_STEPS} steps of training would not fit into its share for {tightest}")


def trains_proxy(run: Run, images: Images) -> bool:
    """Whether the run will train a proxy model for its selection method."""
    settings, selected = run.selection(images), (run.folder / "select" / "subset.json").exists()
    return settings is not None and not selected and needs_proxy(settings, images)


def _models(run: Run, images: Images, network: Model | None) -> dict[str, Model | None]:
    """The network that each step trains; None where it trains none, or one that is not known yet."""
    proxy = None
    if trains_proxy(run, images):
        proxy = build_network(Network("convnet", {"width": PROXY.width}), images, PROXY, seed=run.context.seed)
    return {name: proxy if name == "select" else network for name in run.budget.weights}


def _tightest(run: Run, images: Images, models: dict[str, Model], examples: int, times: Times) -> tuple[str, float]:
    """The step that needs most for its part of the budget, and what all steps together need because of it."""
    weights = {name: run.budget.weights[name] for name in models}  # a step that trains nothing leaves its part
    fractions = {name: weight / sum(weights.values()) for name, weight in weights.items()}
    needed = {"none": 0.0}
    for name, model in models.items():
        settings, count = (PROXY, len(images)) if name == "select" else (run.recipe.train, examples)
        needed[name] = _needed(run, model, settings, count, times) / fractions[name]
    step = max(needed, key=needed.__getitem__)
    return step, needed[step]


def _needed(run: Run, model: Model, settings: Train, count: int, times: Times) -> float:
    """What ten steps cost in the unit of the budget, with the profiling before them."""
    size = min(settings.batch_size or default_batch_size(count, run.context.device), count)
    if run.budget.unit == "epochs":
        return MIN_STEPS * size / count
    if run.budget.unit == "flops":
        return MIN_STEPS * TRAINING_FLOPS_PER_MAC * count_macs(model) * size
    found = times(model, settings)
    run.budget.seconds_per_pass = found.predict
    smallest = settings.batch_size or min(size, SMALLEST)
    return MIN_STEPS * found.step(smallest) + _OVERHEAD * found.train


def _slow_times(model: Model, settings: Train) -> StepTimes:
    """The times of a slow processor, which need no profiling."""
    macs = count_macs(model)
    update = update_flops(model, choose_optimizer(model, settings)) / _SLOW
    return StepTimes(TRAINING_FLOPS_PER_MAC * macs / _SLOW, 2 * macs / _SLOW, update)


def _profiled(run: Run, images: Images, model: Model, settings: Train, *, again: bool = False) -> StepTimes:
    size = settings.batch_size or default_batch_size(len(images), run.context.device)
    return run.profiler(model, images, settings, batch_size=size, again=again).times


def _optimistic(run: Run, times: StepTimes) -> StepTimes:
    """The times of an idle machine: where another process was running they are those of one thread."""
    spread = run.context.threads or 1 if times.crowded else 1
    return replace(times, train=times.train / spread, predict=times.predict / spread)
