"""The steps as plain functions: select, train, prune, evaluate. Each stands alone; a shared budget makes them a run."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from shoestring import registry
from shoestring.budget import WEIGHTS, Budget, quantity
from shoestring.context import Context, prepare
from shoestring.data import Images
from shoestring.data.augment import Augment
from shoestring.errors import UserError
from shoestring.evaluate.metrics import Metrics, measure
from shoestring.grow.compose import Schedule, compose
from shoestring.models.inference import log_probabilities
from shoestring.models.model import Model
from shoestring.proxy import method_for, pool_of
from shoestring.prune import shrink
from shoestring.recipe import Grow, Prune, Select, Train, resolve
from shoestring.select import NOTHING, Subset, choose
from shoestring.select.left_out import left_out
from shoestring.train import plan
from shoestring.train.checkpoint import Checkpoint
from shoestring.train.choose import choose_model
from shoestring.train.loop import Training, fit

_PROXY_EPOCHS = 6
_LEAST_SEEN = 400  # images a proxy sees at least
_LOOKED_AT, _TOGETHER = 512, 128  # images that a cut is made up for on, and how many of them at a time
_COST = 0.65  # seconds a step grow with this power of the MACs
_PRETRAINED = 0.1  # a network that starts from trained weights is trained with this share of the usual learning rate


def select(
    images: Images,
    examples: int,
    *,
    method: str = "auto",
    already: Subset | None = None,
    budget: Budget | None = None,
    context: Context | None = None,
    **settings: Any,
) -> Subset:
    """Choose `examples` of the images, best first.

    `settings` are the other fields of `recipe.Select` (`within="easiest:0.2"` lets the method see a part of the images
    by difficulty, `features="timm:resnet18"` says what they are compared by) and the method's own options. The images
    of `already` are kept, come first, and count among the examples. Methods that need training dynamics, or features
    when none are given, train a small proxy network on all images, within the budget's share for `select` (six epochs
    when there is no budget). Images without labels can be chosen by the methods that need none. Raises `UserError` for
    what cannot be chosen, `BudgetTooSmall` when the proxy cannot be trained.
    """
    context = context or prepare()
    budget = budget or Budget(epochs=max(_PROXY_EPOCHS, _LEAST_SEEN / len(images)), steps=("select",))
    recipe, _ = resolve(("the call", {"select": {"method": method, "examples": examples, **settings}}))
    return run_select(images, recipe.select, budget=budget, context=context, already=already)


def run_select(
    images: Images, settings: Select, *, budget: Budget, context: Context, already: Subset | None = None
) -> Subset:
    """`select` with its settings as a recipe has them."""
    assert settings.examples is not None
    method = method_for(settings, images)
    if settings.method == "auto":
        context.say(f"method {method}: {registry.summary('select', method)}")
    pool = pool_of(images, settings, budget, context)
    before = NOTHING if already is None else already.indices_for(images)
    return choose(
        pool,
        settings.examples,
        method=method,
        balance=settings.balance,
        within=settings.within,
        already=before,
        left_out=left_out(
            pool, before, copies=settings.drop_duplicates, doubtful=settings.drop_suspects, say=context.say
        ),
        seed=context.seed,
        options=settings.options,
    )


def train(
    images: Images,
    *,
    model: str = "auto",
    grow: str = "auto",
    stages: str | None = None,
    budget: Budget,
    validation: Images | None = None,
    context: Context | None = None,
    **settings: Any,
) -> Model:
    """Train a network on the images until the budget's share for `train` is spent.

    `grow` names schedules ("resolution,width"), or `stages` writes them out ("0.5@0.75,1@1"). `settings` are the fields
    of `recipe.Train`. `validation` images are needed for `patience` only. Raises `UserError` for unknown names and
    settings, `BudgetTooSmall` before training when too little fits.
    """
    growth = {"method": grow} | ({"stages": stages} if stages is not None else {})
    recipe, _ = resolve(("the call", {"train": {"model": model, **settings}, "grow": growth}))
    context = context or prepare()
    return run_train(images, recipe.train, recipe.grow, budget=budget, context=context, validation=validation)[0]


def run_train(
    images: Images,
    settings: Train,
    grow: Grow,
    *,
    budget: Budget,
    context: Context,
    validation: Images | None = None,
    later: Prune | None = None,
) -> tuple[Model, Training]:
    """`train` with its settings as a recipe has them; also how the training went.

    `later` says how the network will be cut when the budget pays for that too: an automatic width takes it in.
    """
    if settings.patience is not None and validation is None:
        raise UserError("patience needs validation images to score on.")
    window = budget.window("train")
    if begun := Checkpoint(context.folder).network():  # another width would fit by now
        settings = replace(settings, model=begun[0], **begun[1])
    model = choose_model(images, settings, context=context, seconds=_time_at_full_size(budget, later))
    went = fit(
        model,
        images,
        window,
        settings=settings,
        context=context,
        schedule=schedule_of(grow, settings),
        augment=_augment(images, settings),
        scale=_scale(settings),
        part=_part(budget, "train"),
        anytime=True,
        score=partial(accuracy, images=validation) if validation is not None else None,
    )
    return model, went


def schedule_of(grow: Grow, settings: Train) -> Schedule:
    """How the problem grows; `UserError` for what cannot be, and for weights that a small start would cut."""
    schedule = compose(grow.method, grow.options, grow.stages)
    first = schedule(0.0)
    if settings.weights is not None and min(first.width, first.depth) < 1:
        word, part = ("narrow", "width") if first.width < 1 else ("shallow", "depth")
        raise UserError(
            f"a network that starts {word} starts fresh: leave out --weights, or {part} in --grow or --stages."
        )
    return schedule


def _augment(images: Images, settings: Train) -> Augment:
    return plan.augmentation(settings, len(images), mirrored=images.mirrored)


def _time_at_full_size(budget: Budget, later: Prune | None) -> float | None:
    """Seconds of training that the whole network could have for the work that fits into training and recovery.

    A network that is cut on the way trains faster from there on. None where time does not count.
    """
    if budget.unit != "seconds":
        return None
    share = quantity(later.macs) if later is not None and later.macs is not None else 1.0
    cut = _part(budget, "train")[1]
    return budget.left * (cut + (1 - cut) / min(share, 1.0) ** _COST)


def _scale(settings: Train) -> float:
    return 1.0 if settings.weights is None else _PRETRAINED


def _part(budget: Budget, step: str) -> tuple[float, float]:
    """The stretch of the learning rate's schedule that a step covers: one schedule runs through training and recovery.

    So a network that will be cut is not annealed before, and one that was trained elsewhere is taken up where it would
    have been cut.
    """
    weights = WEIGHTS | budget.weights
    cut = weights["train"] / (weights["train"] + weights["prune"])
    if step == "prune":
        return cut, 1.0
    return 0.0, cut if "prune" in budget.weights else 1.0


def accuracy(model: Model, images: Images) -> float:
    """Share of images whose class the model names."""
    return float((log_probabilities(model, images).argmax(1) == images.targets).mean())


def prune(
    model: Model,
    images: Images,
    *,
    macs: str | float | None = None,
    params: str | float | None = None,
    method: str = "magnitude",
    budget: Budget | None = None,
    context: Context | None = None,
    settings: Train | None = None,
    **options: Any,
) -> Model:
    """A smaller copy of the model: channels cut to a share (0.5) or number (20M) of MACs or parameters.

    It is trained on with the images until the budget's share for `prune` is spent; without a budget it is only cut.
    Raises `UserError` when the target cannot be reached or nothing can be cut.
    """
    wanted = Prune(method, None if macs is None else str(macs), None if params is None else str(params), options)
    context = context or prepare()
    return run_prune(model, images, wanted, settings or Train(), budget=budget, context=context)[0]


def run_prune(
    model: Model, images: Images, wanted: Prune, settings: Train, *, budget: Budget | None, context: Context
) -> tuple[Model, Training | None]:
    """`prune` with its settings as a recipe has them; also how the recovery went."""
    import torch

    few = images[np.random.default_rng(context.seed).permutation(len(images))[:_LOOKED_AT]]
    pixels = torch.from_numpy(few.pixels).to(context.device)
    batches = [model.prepare(part) for part in pixels.split(_TOGETHER)]
    model.module.to(context.device)
    small = shrink(model, batches, method=wanted.method, macs=wanted.macs, params=wanted.params, **wanted.options)
    if budget is None:
        return small, None
    went = fit(
        small,
        images,
        budget.window("prune"),
        settings=settings,
        context=context,
        augment=_augment(images, settings),
        scale=_scale(settings),
        part=_part(budget, "prune"),
        anytime=True,
    )
    return small, went


def evaluate(model: Model, images: Images, *, split: str = "test") -> Metrics:
    """Metrics of the model on images, in full precision. Raises `UserError` when their classes are not the model's."""
    if images.classes != model.classes:
        raise UserError(
            f"the model tells {', '.join(model.classes)} apart, the images are of {', '.join(images.classes)}."
        )
    return measure(log_probabilities(model, images), images.targets, classes=model.classes, split=split)
