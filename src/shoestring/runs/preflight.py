"""Before anything is spent: whether the budget can hold all steps, and whether the size asked for can be reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from shoestring.config.recipe import Train
from shoestring.data import Dataset, Images
from shoestring.errors import BudgetTooSmall
from shoestring.evaluation.cost import count_macs
from shoestring.models.model import Model
from shoestring.models.tta import expected_passes
from shoestring.planning.model import choose_model, preprocessing
from shoestring.planning.plan import schedule_of
from shoestring.planning.proxy import PROXY, needs_proxy
from shoestring.pruning import shrink
from shoestring.runs.session import Run
from shoestring.runtime import threads
from shoestring.selection.subset_files import load_subset
from shoestring.training import defaults
from shoestring.training.optimizers.optimizer import update_flops, update_seconds
from shoestring.training.profiling import FLOPS_PER_MAC, Speed, calibrate, few_of, images_to_time, predicting
from shoestring.training.setup import LEAST_STEPS, prepare_growth

_LIMIT = 0.01  # fraction of a time budget that timing one network may take
_TIMED_IMAGES, _TIMED_LEAST = 32, 2
_EVALUATED = 100  # images to evaluate for each second, up to which a network that fits the time looks at more views
_VIEWS = {"crops": 0.06, "flip": 0.15}  # fraction of a time budget that evaluation with these views may take
_OVERHEAD = 1000  # images whose training takes as long as the calibrations before a step, at worst
_LONGEST_CHECK = 0.25  # fraction of a time budget after which it is refused without measuring again
_CAUTION = 1.25
_SLOW = 5e9  # operations a second that any processor does, also beside other work
_SMALLEST_SIDE = 32  # pixels to which images are made smaller before a budget is refused
_NARROW = 0.25  # width of the network that "auto" takes where time is short


@dataclass(frozen=True)
class _Way:
    """A way to run a recipe: the views of a prediction, and the side of the images in pixels."""

    views: str
    side: int


def settle(this: Run, data: Dataset) -> tuple[Run, Dataset]:
    """The run and its images, with as many views and as large images as the time allows, or those of before.

    Where the budget is too small for all of it, predictions look at fewer views, and then images are made smaller,
    unless the recipe says which. What is kept for the end is on the budget's record.
    """
    *better, last = _ways(this, data)
    for way in better:
        run, images = _taken(this, data, way)
        if fits(run, images.train):
            break
    else:
        way = last
        run, images = _taken(this, data, way)
    if way.side != data.train.shape[0]:
        this.context.log(f"images are made {way.side} x {way.side} pixels, as the time is too short for larger ones")
    return run, images


def _ways(this: Run, data: Dataset) -> list[_Way]:
    """The ways to try, the best first; one only where it is settled already or time does not count."""
    wanted, before, side = this.recipe.train, this.folder.run, data.train.shape[0]
    if this.recipe.start is not None:
        return [_Way(wanted.views, side)]
    timed = this.budget.unit == "seconds"
    if "views" in before:
        return [_Way(before["views"] if wanted.views == "auto" else wanted.views, before.get("side") or side)]
    if not timed:
        return [_Way("crops" if wanted.views == "auto" else wanted.views, side)]
    views = [wanted.views]
    if wanted.views == "auto":
        most = _fitting_views(this, data)
        views = ["crops", "flip", "one"][["crops", "flip", "one"].index(most) :]
    ways = [_Way(name, side) for name in views]
    while this.recipe.resolution is None and this.context.distributed is None and side >= 2 * _SMALLEST_SIDE:
        side //= 2
        ways.append(_Way(views[-1], side))
    return ways


def _taken(this: Run, data: Dataset, way: _Way) -> tuple[Run, Dataset]:
    """The run and its images in this way; what it will need at the end is kept."""
    run = replace(this, recipe=replace(this.recipe, train=replace(this.recipe.train, views=way.views)))
    images = data if way.side == data.train.shape[0] else data.resized(way.side)
    run.reserve(images)
    return run, images


def _fitting_views(this: Run, data: Dataset) -> str:
    """More views where all that is evaluated in the end takes this fraction of the time at most."""
    wanted, total = this.recipe.train, this.budget.total
    if wanted.model == "auto":  # its width will fit the time
        return "flip" if len(data.validation) + len(data.test) > _EVALUATED * total else "crops"
    with this.budget.track("forecast"):
        silent = replace(this.context, log=lambda text: None)
        network = choose_model(data.train, wanted, context=silent, seconds=None)
        count = images_to_time(
            count_macs(network), _LIMIT * total, most=_TIMED_IMAGES, step=_TIMED_IMAGES, device=this.context.device
        )
        price = predicting(network, few_of(network, data.train, count, this.context.device), _LIMIT * total)
    for name, share in _VIEWS.items():
        prepared = preprocessing(data.train[:1], mirror=wanted.mirrors(data.mirrored), views=name)
        if (len(data.validation) + len(data.test)) * expected_passes(prepared) * price <= share * total:
            return name
    return "one"


def fits(this: Run, images: Images) -> bool:
    """Whether the budget can hold all steps, as `check_budget` finds out."""
    try:
        with this.budget.track("forecast"):
            _check_time(this, images)
    except BudgetTooSmall:
        return False
    return True


def check_budget(this: Run, images: Images) -> None:
    """Raise `BudgetTooSmall` naming the least that works when a step could not make ten steps of training.

    `images` are those to choose from. Raises `UserError` when a fresh network of the recipe cannot be cut to the size,
    or cannot be grown as the recipe says.
    """
    with threads.single_thread(this.context.threads):
        _check_budget(this, images)


def _check_budget(this: Run, images: Images) -> None:
    recipe = this.recipe
    network = _network(this, images)
    if network is not None:
        prepare_growth(network, schedule_of(recipe.grow, recipe.train))
    if network is not None and recipe.prune.enabled:
        wanted = recipe.prune
        shrink(network, [], method="random", macs=wanted.macs, params=wanted.params, log=lambda text: None)
    _check_time(this, images)
    if this.budget.unit == "seconds" and network is not None:
        _time_predictions(this, images)
    this.budget.timings.clear()  # which hold networks


def _time_predictions(this: Run, images: Images) -> None:
    """Let the reserve go by predictions of the usual network, as timed: until now it went by a slow processor."""
    settings, silent = this.recipe.train, replace(this.context, log=lambda text: None)
    network, device = choose_model(images, settings, context=silent, seconds=None), this.context.device
    limit = _LIMIT * this.budget.total
    around = {"most": _TIMED_IMAGES, "step": _TIMED_IMAGES, "device": device, "least": _TIMED_LEAST}
    count = images_to_time(count_macs(network), limit, **around)
    this.budget.pace = predicting(network, few_of(network, images, count, device), limit)


def _network(this: Run, images: Images) -> Model | None:
    """A network like the one to be trained, the narrowest where "auto" fits the width to the time; None for none."""
    recipe, silent = this.recipe, replace(this.context, log=lambda text: None)
    if recipe.start:
        return None
    settings, known = recipe.train, this.budget.timings
    fitted = settings.model == "auto" and settings.weights is None and settings.width is None
    if fitted and this.budget.unit == "seconds":
        settings = replace(settings, width=_NARROW)
    about = ("network", settings.views, images.shape)
    if about not in known:
        known[about] = choose_model(images, settings, context=silent, seconds=None)
    return known[about]


def _check_time(this: Run, images: Images) -> None:
    """`check_budget` without the network's shape.

    Networks are timed only where a slow processor would not do: a budget that is ample is not spent on timing, and one
    that any machine can hold is refused on none.
    """
    recipe, budget = this.recipe, this.budget
    subset = recipe.select.subset
    chosen = recipe.select.examples if subset is None else len(load_subset(subset, images))
    examples = min(chosen or len(images), len(images))
    models = {name: model for name, model in _models(this, images, _network(this, images)).items() if model is not None}
    timings: dict[str, Speed] = {}

    def lacking(speeds: Callable[..., Speed]) -> tuple[str, float] | None:
        found = _tightest(this, images, models, examples, partial(speeds, this, images))
        return None if found[1] <= budget.remaining else found

    lack = lacking(_slow_speed)
    if lack and budget.unit == "seconds":
        lack = lacking(partial(_least_speed, timings))
        if lack and budget.spent < _LONGEST_CHECK * budget.total:  # the first steps of a process can be slow
            lack = lacking(partial(_least_speed, timings))
    if not lack:
        return
    tightest, least = lack
    total = budget.spent + budget.reserved + _CAUTION * least
    raise budget.refuse(total, why=f"{LEAST_STEPS} steps of training would not fit into its share for {tightest}")


def trains_proxy(this: Run, images: Images) -> bool:
    """Whether the run will train a proxy to choose by."""
    chosen = (this.folder / "select" / "subset.json").exists()
    return "select" in this.budget.weights and not chosen and needs_proxy(this.recipe.select, images)


def _models(this: Run, images: Images, network: Model | None) -> dict[str, Model | None]:
    """The network that each step trains; None where it trains none, or one that is not known yet."""
    proxy = None
    if trains_proxy(this, images):
        silent = replace(this.context, log=lambda text: None)
        proxy = choose_model(images, PROXY, context=silent, seconds=None)
    return {name: proxy if name == "select" else network for name in this.budget.weights}


def _tightest(
    this: Run,
    images: Images,
    models: dict[str, Model],
    examples: int,
    speed_of: Callable[[Model, Train, str], Speed],
) -> tuple[str, float]:
    """The step that needs most for its share, and what all steps together need because of it."""
    weights = {name: this.budget.weights[name] for name in models}  # a step that trains nothing leaves its share
    shares = {name: weight / sum(weights.values()) for name, weight in weights.items()}
    needed = {"none": 0.0}
    for name, model in models.items():
        settings, count = (PROXY, len(images)) if name == "select" else (this.recipe.train, examples)
        needed[name] = _needed(this, model, settings, count, speed_of, name) / shares[name]
    step = max(needed, key=needed.__getitem__)
    return step, needed[step]


def _needed(
    this: Run, model: Model, settings: Train, count: int, speed_of: Callable[[Model, Train, str], Speed], step: str
) -> float:
    """What ten steps cost in the budget's unit, calibration before them included."""
    size = min(settings.batch_size or defaults.first_batch_size(count, this.context.device), count)
    if this.budget.unit == "epochs":
        return LEAST_STEPS * size / count
    if this.budget.unit == "flops":
        return LEAST_STEPS * FLOPS_PER_MAC * count_macs(model) * size
    speed = speed_of(model, settings, step)
    this.budget.pace = speed.predict
    smallest = settings.batch_size or min(size, defaults.SMALLEST)
    return LEAST_STEPS * speed.step(smallest) + _OVERHEAD * speed.train


def _slow_speed(this: Run, images: Images, model: Model, settings: Train, step: str) -> Speed:
    """The speed of a slow processor, which nobody has to time."""
    macs = count_macs(model)
    update = update_flops(model, settings) / _SLOW
    return Speed("float32", FLOPS_PER_MAC * macs / _SLOW, 2 * macs / _SLOW, update)


def _least_speed(
    timings: dict[str, Speed], this: Run, images: Images, model: Model, settings: Train, step: str
) -> Speed:
    """The speed as timed, and of two timings the better one: other work may end."""
    limit, device = _LIMIT * this.budget.total, this.context.device
    count = images_to_time(
        count_macs(model), limit, most=_TIMED_IMAGES, step=_TIMED_IMAGES, device=device, least=_TIMED_LEAST
    )
    batch = few_of(model, images, count, device)
    found = calibrate(model, batch, wanted="auto", limit=limit, threads=this.context.threads)
    spread = this.context.rank_and_size[1] * (this.context.threads or 1 if found.crowded else 1)
    update = update_seconds(model, settings)
    known = timings.get(step, found)
    timings[step] = Speed(
        found.precision,
        min(known.train, found.train / spread),
        min(known.predict, found.predict / spread),
        min(known.update or update, update),
    )
    return timings[step]
