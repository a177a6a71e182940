"""Before anything is spent: whether the budget can hold all steps, and whether the size asked for can be reached."""

from __future__ import annotations

from dataclasses import replace

from shoestring.data import Dataset, Images
from shoestring.evaluate.cost import count_macs
from shoestring.models.inference import views
from shoestring.models.model import Model
from shoestring.planning import schedule_of
from shoestring.proxy import PROXY, needs_proxy
from shoestring.prune import shrink
from shoestring.recipe import Train
from shoestring.runs import Run
from shoestring.subsets import given_subset
from shoestring.train import plan
from shoestring.train.calibrate import FLOPS_PER_MAC, Speed, calibrate, few_of, predicting
from shoestring.train.choose import choose_model, preprocessing
from shoestring.train.optimiser import update_seconds
from shoestring.train.setup import LEAST_STEPS, prepare_growth

_SAMPLE = 32  # images that a step is timed on
_LIMIT = 0.003  # share of a time budget that timing one network may take
_EVALUATED = 100  # images to evaluate for each second, up to which a network that fits the time looks at more views
_VIEWS = {"crops": 0.06, "flip": 0.15}  # share of a time budget that evaluation with these views may take
_OVERHEAD = 1000  # images whose training takes as long as the calibrations before a step, at worst
_CAUTION = 1.25


def settled(this: Run, data: Dataset) -> Run:
    """The run with the views that its predictions look at: as many as take little of the time, or those of before."""
    wanted, before = this.recipe.train, this.folder.run.get("views")
    if wanted.views != "auto" or this.recipe.start is not None:
        return this
    found = before or ("crops" if this.budget.unit != "seconds" else _fitting_views(this, data))
    return replace(this, recipe=replace(this.recipe, train=replace(wanted, views=found)))


def _fitting_views(this: Run, data: Dataset) -> str:
    """More views where all that is evaluated in the end takes this share of the time at most."""
    wanted, total = this.recipe.train, this.budget.total
    if wanted.model == "auto":  # its width will fit the time
        return "flip" if len(data.validation) + len(data.test) > _EVALUATED * total else "crops"
    with this.budget.paying("forecast"):
        silent = replace(this.context, say=lambda text: None)
        network = choose_model(data.train, wanted, context=silent, seconds=None)
        price = predicting(network, few_of(network, data.train, _SAMPLE, this.context.device), _LIMIT * total)
    for name, share in _VIEWS.items():
        prepared = preprocessing(data.train[:1], mirror=wanted.mirrors(data.mirrored), views=name)
        if (len(data.validation) + len(data.test)) * views(prepared) * price <= share * total:
            return name
    return "one"


def check_budget(this: Run, images: Images) -> None:
    """Raise `BudgetTooSmall` naming the least that works when a step could not make ten steps of training.

    `images` are those to choose from. Raises `UserError` when a fresh network of the recipe cannot be cut to the size,
    or cannot be grown as the recipe says.
    """
    this = replace(this, context=replace(this.context, say=lambda text: None))  # trials are not worth a note
    recipe, budget = this.recipe, this.budget
    subset = recipe.select.subset
    chosen = recipe.select.examples if subset is None else len(given_subset(subset, images))
    examples = min(chosen or len(images), len(images))
    network = None if recipe.start else choose_model(images, recipe.train, context=this.context, seconds=None)
    if network is not None:
        prepare_growth(network, schedule_of(recipe.grow, recipe.train))
    if network is not None and recipe.prune.wanted:
        wanted = recipe.prune
        shrink(network, [], method="random", macs=wanted.macs, params=wanted.params, say=this.context.say)
    models = {name: model for name, model in _models(this, images, network).items() if model is not None}
    tightest, least = _tightest(this, images, models, examples)
    if least > budget.left:  # the first steps of a process can be slow: measure again before refusing
        tightest, least = _tightest(this, images, models, examples)
    if least > budget.left:
        total = budget.spent + budget.reserve + _CAUTION * least
        raise budget.refuse(total, why=f"{LEAST_STEPS} steps of training would not fit into its share for {tightest}")


def trains_proxy(this: Run, images: Images) -> bool:
    """Whether the run will train a proxy to choose by."""
    chosen = (this.folder / "select" / "subset.json").exists()
    return "select" in this.budget.weights and not chosen and needs_proxy(this.recipe.select, images)


def _models(this: Run, images: Images, network: Model | None) -> dict[str, Model | None]:
    """The network that each step trains; None where it trains none, or one that is not known yet."""
    proxy = None
    if trains_proxy(this, images):
        proxy = choose_model(images, PROXY, context=this.context, seconds=None)
    return {name: proxy if name == "select" else network for name in this.budget.weights}


def _tightest(this: Run, images: Images, models: dict[str, Model], examples: int) -> tuple[str, float]:
    """The step that needs most for its share, and what all steps together need because of it."""
    weights = {name: this.budget.weights[name] for name in models}  # a step that trains nothing leaves its share
    shares = {name: weight / sum(weights.values()) for name, weight in weights.items()}
    needed = {"none": 0.0}
    for name, model in models.items():
        settings, count = (PROXY, len(images)) if name == "select" else (this.recipe.train, examples)
        needed[name] = _needed(this, model, images, settings, count) / shares[name]
    step = max(needed, key=needed.__getitem__)
    return step, needed[step]


def _needed(this: Run, model: Model, images: Images, settings: Train, count: int) -> float:
    """What ten steps cost in the budget's unit, calibration before them included."""
    size = min(settings.batch_size or plan.first_batch_size(count, this.context.device), count)
    if this.budget.unit == "epochs":
        return LEAST_STEPS * size / count
    if this.budget.unit == "flops":
        return LEAST_STEPS * FLOPS_PER_MAC * count_macs(model) * size
    speed = replace(_speed(this, model, images), update=update_seconds(model, settings))
    this.budget.pace = speed.predict
    smallest = settings.batch_size or min(size, plan.SMALLEST)
    return LEAST_STEPS * speed.step(smallest) + _OVERHEAD * speed.train


def _speed(this: Run, model: Model, images: Images) -> Speed:
    batch = few_of(model, images, _SAMPLE, this.context.device)
    speed = calibrate(model, batch, wanted="auto", limit=_LIMIT * this.budget.total)
    return replace(speed, train=speed.train / this.context.part[1])
