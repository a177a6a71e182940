"""The steps as functions: select, train, prune, evaluate. Each works alone, or shares a budget with the others."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from shoestring.budget import DEFAULT_EPOCHS, Budget
from shoestring.config import registry
from shoestring.config.recipe import Prune, Select, Train
from shoestring.config.resolve import CALL, resolve
from shoestring.data import Images
from shoestring.errors import UserError
from shoestring.evaluation.calibration import fit_temperature, images_to_fit
from shoestring.evaluation.metrics import Metrics, Predictions, collect_predictions, compute_metrics
from shoestring.models.inference import Predictor
from shoestring.models.model import Model
from shoestring.models.tta import expected_passes
from shoestring.planning.model import preprocessing
from shoestring.planning.plan import Planned, Planner, plan_training, stretch_of
from shoestring.planning.profiling import Profiler
from shoestring.planning.proxy import pool_of
from shoestring.planning.selection_method import choose_method
from shoestring.planning.tta import with_tta
from shoestring.pruning import shrink
from shoestring.runtime import threads
from shoestring.runtime.context import Context, prepare
from shoestring.selection import NO_INDICES, Strategy, Subset, new_class_counts, select_subset
from shoestring.selection.exclusions import find_excluded
from shoestring.selection.subset_files import load_subset
from shoestring.training.checkpoint import Checkpoint
from shoestring.training.early_stopping import Score
from shoestring.training.loop import REPLAN, Hooks, fit
from shoestring.training.progress import Training

_PROXY_EPOCHS = 6
_LEAST_SEEN = 400  # images that a proxy model is trained on at least, each time counted
_CALIBRATION_IMAGES, _CALIBRATION_BATCH = 512, 128  # that layers compensate for removed channels on


def select(
    images: Images,
    examples: int,
    *,
    method: str = "auto",
    already: Subset | str | Path | None = None,
    seed: int = 0,
    budget: Budget | None = None,
    context: Context | None = None,
    **settings: Any,
) -> Subset:
    """Select `examples` of the images, best first.

    `settings` are the other fields of `recipe.Select` (`within="easiest:0.2"` restricts the method to a range of
    difficulty, `features="timm:resnet18"` names the features to compare images by) and the options of the method. The
    images of `already` (a subset, or its file or run folder) come first and count as examples. `seed` is ignored if a
    context is given, which has its own. Methods that need training dynamics, or features if none are given, train a
    small proxy model on all images within the part of the budget for `select` (six epochs without a budget). Images
    without labels can be selected by methods that need none.

    Raises `UserError` for unknown names and impossible numbers, and `BudgetTooSmall` if the proxy cannot be trained.
    """
    recipe, _ = resolve((CALL, {"select": {"method": method, "examples": examples, **settings}}))
    if recipe.select.subset is not None:
        raise UserError("a subset that is there already needs no choosing: images[Subset.load(file)] are its images.")
    if not len(images):
        raise UserError("there are no images to choose from.")
    context = context or prepare(seed=seed)
    budget = budget or Budget(epochs=max(_PROXY_EPOCHS, _LEAST_SEEN / len(images)), steps=("select",))
    before = load_subset(already, images) if isinstance(already, str | Path) else already
    with threads.restore_threads():
        return run_select(images, recipe.select, budget=budget, context=context, already=before)


def run_select(
    images: Images, settings: Select, *, budget: Budget, context: Context, already: Subset | None = None
) -> Subset:
    """`select` with its settings as a recipe has them."""
    assert settings.examples is not None
    method = choose_method(settings, images)
    if settings.method == "auto":
        context.log(f"method {method}: {registry.summary('select', method)}")
    pool = pool_of(images, settings, budget, context)
    before = NO_INDICES if already is None else already.indices_for(images)
    # raises errors before a proxy model is trained
    new_class_counts(pool, settings.examples, balance=settings.balance, already=before)
    subset = select_subset(
        pool,
        settings.examples,
        Strategy(method, settings.options, settings.within),
        balance=settings.balance,
        already=before,
        excluded=find_excluded(
            pool, before, duplicates=settings.drop_duplicates, label_errors=settings.drop_suspects, log=context.log
        ),
        seed=context.seed,
    )
    if settings.signals is not None and not Path(settings.signals).exists():
        context.log(f"{method} asks for no signals: {settings.signals} is not written")
    if settings.features is not None and not pool.features_used:
        context.log(f"{method} compares no images: {settings.features} is not looked at")
    return subset


def train(
    images: Images,
    *,
    model: str = "auto",
    grow: str = "auto",
    stages: str | None = None,
    budget: Budget | None = None,
    validation: Images | None = None,
    seed: int = 0,
    context: Context | None = None,
    **settings: Any,
) -> Model:
    """Train a network on the images until the part of the budget for `train` is spent (ten epochs without a budget).

    `grow` names growth schedules ("resolution,width"), or `stages` writes them out ("0.5@0.75,1@1"). `settings` are the
    fields of `recipe.Train`. Held-out `validation` images are used to fit the temperature of the model (otherwise it is
    1) and for early stopping. `seed` is ignored where a context is given, which has its own.

    Raises `UserError` for unknown names and settings, and `BudgetTooSmall` before training if fewer than ten steps fit.
    """
    growth = {"method": grow} | ({"stages": stages} if stages is not None else {})
    recipe, _ = resolve((CALL, {"train": {"model": model, **settings}, "grow": growth}))
    check_trainable(images, validation)
    context = context or prepare(seed=seed)
    budget = budget or Budget(epochs=DEFAULT_EPOCHS, steps=("train",))
    profiler, evaluated = Profiler(budget, context), 0 if validation is None else len(validation)
    with threads.restore_threads():
        chosen = with_tta(recipe.train, images, evaluated=evaluated, profiler=profiler)
        reserve_calibration(budget, chosen, images, validation)
        planner = Planner(chosen, recipe.grow, profiler, context)
        planned = planner(images, stretch_of(budget, "train", count=len(images)))
        trained, _, _ = run_train(images, planner, planned, budget=budget, validation=validation)
        return calibrated(trained, validation, budget)


def check_trainable(images: Images, validation: Images | None = None) -> None:
    """Raise `UserError` for images that cannot be trained on: none, unlabeled, of one class, or of other classes."""
    if images.labels is None:
        raise UserError("these images have no labels, and training needs them.")
    if not len(images):
        raise UserError("there are no images to train on.")
    if len(images.classes) < 2:
        raise UserError(f"one class only ({', '.join(images.classes)}): training needs two classes or more.")
    if validation is not None and validation.classes != images.classes:
        raise UserError(
            f"the images are of the classes {', '.join(images.classes)}, and the validation images of "
            f"{', '.join(validation.classes)}: the same, in the same order, are expected."
        )


def reserve_calibration(budget: Budget, settings: Train, images: Images, validation: Images | None) -> None:
    """Reserve the time that `calibrated` will take."""
    if validation is not None:
        prepared = preprocessing(images[:1], mirror=settings.mirrors(images.mirrored), tta=settings.tta)
        budget.reserve("calibrate", images=round(len(validation) * expected_passes(prepared)))


def calibrated(model: Model, validation: Images | None, budget: Budget) -> Model:
    """Return the model with its temperature fitted on validation images; unchanged if there are none."""
    if validation is None:
        return model
    timed = budget.unit == "seconds"
    left = partial(budget.remaining_for, "calibrate") if timed else None
    predictor = Predictor(
        replace(model, temperature=1.0),
        remaining=left,
        pending=len(validation),
        seconds_per_pass=budget.seconds_per_pass,
    )
    with budget.track("calibrate"):
        return with_temperature(predictor, validation)[0]


def with_temperature(predictor: Predictor, validation: Images) -> tuple[Model, Predictions]:
    """Return the model of a predictor with a fitted temperature, and the predictions at temperature 1."""
    classes = len(validation.classes)
    found = collect_predictions(
        predictor(validation), validation.targets, classes=classes, sample=images_to_fit(classes)
    )
    fitted = fit_temperature(found.sample, found.labels[found.sample_indices])
    return replace(predictor.model, temperature=fitted), found


def run_train(
    images: Images, planner: Planner, planned: Planned, *, budget: Budget, validation: Images | None = None
) -> tuple[Model, Training, Planned]:
    """Train as planned; return the model, a summary of the training, and the plan that it followed in the end.

    The plan may be revised once, early, if steps take much longer or shorter than planned.
    """
    context = planner.context
    if planned.train.patience is not None and validation is None:
        raise UserError("patience needs validation images to score on.")
    window, checkpoint = budget.window("train"), Checkpoint(context.folder)
    revisable = context.distributed is None and checkpoint.load() is None
    plans = [planned]

    def replan(ratio: float) -> bool:
        stretch = stretch_of(budget, "train", count=len(images), later=planner.later)
        found = planner(images, replace(stretch, length=window.remaining), load=ratio)
        if (found.network.options, found.train.grow) == (planned.network.options, planned.train.grow):
            return False
        checkpoint.remove()
        context.log(f"steps take {ratio:.1f} times the planned seconds: starting again with another plan")
        plans.append(found)
        return True

    score = None if validation is None else _score(validation, planned.model)
    hooks = Hooks(score=score, anytime=True, replan=replan if revisable else None)
    context.log(f"training {planned.model.name} on {len(images):,} images")
    summary = fit(planned.model, images, window, planned.train, context, hooks)
    if summary.ended == REPLAN:
        hooks = replace(hooks, replan=None)
        summary = fit(plans[-1].model, images, window, plans[-1].train, context, hooks)
    return plans[-1].model, summary, plans[-1]


def _score(images: Images, model: Model) -> Score:
    return Score(partial(accuracy, images=images), passes=len(images) * expected_passes(model.preprocessing))


def accuracy(model: Model, images: Images) -> float:
    """Return the fraction of images that the model classifies correctly. Raises `UserError` without images."""
    predictions = collect_predictions(Predictor(model)(images), images.targets, classes=len(model.classes))
    if predictions.accuracy is None:
        raise UserError("there are no images to measure the accuracy on.")
    return predictions.accuracy


def prune(
    model: Model,
    images: Images,
    *,
    macs: str | float | None = None,
    params: str | float | None = None,
    method: str = "magnitude",
    budget: Budget | None = None,
    validation: Images | None = None,
    seed: int = 0,
    context: Context | None = None,
    settings: Train | None = None,
    **options: Any,
) -> Model:
    """Return a smaller copy of the model, pruned to a fraction (0.5) or number (20M) of MACs or parameters.

    It is fine-tuned on the images until the part of the budget for `prune` is spent (not at all without a budget). Its
    temperature is fitted on `validation` images, or copied from the model.

    Raises `UserError` if the target cannot be reached or nothing can be pruned.
    """
    wanted = Prune(method, None if macs is None else str(macs), None if params is None else str(params), options)
    context = context or prepare(seed=seed)
    settings = settings or Train()
    if budget is not None:
        reserve_calibration(budget, settings, images, validation)
    with threads.restore_threads():
        small, _ = run_prune(model, images, wanted, settings, budget=budget, context=context)
        return calibrated(small, validation, budget or Budget(epochs=DEFAULT_EPOCHS))


def run_prune(
    model: Model, images: Images, requested: Prune, settings: Train, *, budget: Budget | None, context: Context
) -> tuple[Model, Training | None]:
    """`prune` with the settings of a recipe; also returns a summary of the fine-tuning."""
    import torch

    sample = images[np.random.default_rng(context.seed).permutation(len(images))[:_CALIBRATION_IMAGES]]
    pixels = torch.from_numpy(sample.pixels).to(context.device)
    batches = [model.prepare(part) for part in pixels.split(_CALIBRATION_BATCH)]
    model.module.to(context.device)
    targets = {"macs": requested.macs, "params": requested.params}
    small = shrink(model, batches, method=requested.method, log=context.log, **targets, **requested.options)
    if budget is None:
        return small, None
    context.log("training the pruned network")
    stretch = stretch_of(budget, "prune", count=len(images))
    plan = plan_training(small, images, settings, stretch, Profiler(budget, context))
    return small, fit(small, images, budget.window("prune"), plan, context, Hooks(anytime=True))


def evaluate(model: Model, images: Images, *, split: str = "test") -> Metrics:
    """Return metrics of the model on images, in full precision and with its test-time augmentation.

    Raises `UserError` if there are no images, or if their classes are not those of the model.
    """
    if images.classes != model.classes:
        raise UserError(
            f"the model tells {', '.join(model.classes)} apart, the images are of {', '.join(images.classes)}."
        )
    predictions = collect_predictions(Predictor(model)(images), images.targets, classes=len(model.classes))
    return compute_metrics(predictions, classes=model.classes, split=split)
