"""Execute a plan: select, train, prune and calibrate within one budget."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from shoestring.budget import Budget, Window
from shoestring.config.recipe import Prune, Select, Train
from shoestring.data import Images
from shoestring.errors import BudgetTooSmall, UserError
from shoestring.evaluation.calibration import fit_temperature, images_to_fit
from shoestring.evaluation.cost import count_macs
from shoestring.evaluation.metrics import Predictions, collect_predictions
from shoestring.models.blocks import HEAD
from shoestring.models.inference import Predictor
from shoestring.models.model import Model
from shoestring.models.preprocessing import Preprocessing
from shoestring.models.tta import expected_passes
from shoestring.planning.plan import Planned, Planner, allotment_of, plan_training
from shoestring.planning.profiling import Profiler
from shoestring.planning.proxy import pool_of
from shoestring.pruning import shrink
from shoestring.runtime.context import Context
from shoestring.selection import NO_INDICES, Strategy, Subset, new_class_counts, select_subset
from shoestring.selection.exclusions import find_excluded
from shoestring.training.checkpoint import Checkpoint
from shoestring.training.early_stopping import Score
from shoestring.training.loop import REPLAN, Hooks, fit
from shoestring.training.probe import probe_head, some_of_each_class
from shoestring.training.progress import TrainingSummary

_PROBE_FRACTION, _MIN_PROBED = 0.25, 64  # of the time for training; images
_CALIBRATION_IMAGES, _CALIBRATION_BATCH = 512, 128  # that layers compensate for removed channels on


def select(
    images: Images, settings: Select, *, budget: Budget, context: Context, already: Subset | None = None
) -> Subset:
    """Select a subset of the images; the method of the settings is not "auto". See `shoestring.select`."""
    assert settings.examples is not None
    method = settings.method
    pool = pool_of(images, settings, budget, context)
    first = NO_INDICES if already is None else already.indices_for(images)
    # raises errors before a proxy model is trained
    new_class_counts(pool, settings.examples, balance=settings.balance, already=first)
    subset = select_subset(
        pool,
        settings.examples,
        Strategy(method, settings.options, settings.within),
        balance=settings.balance,
        already=first,
        excluded=find_excluded(
            pool, first, duplicates=settings.drop_duplicates, label_errors=settings.drop_suspects, log=context.log
        ),
        seed=context.seed,
    )
    if settings.signals is not None and not Path(settings.signals).exists():
        context.log(f"{method} uses no training signals: {settings.signals} is not written")
    if settings.features is not None and not pool.features_used:
        context.log(f"{method} compares no images: {settings.features} is not used")
    return subset


def reserve_calibration(budget: Budget, inputs: Preprocessing, validation: Images | None) -> None:
    """Reserve the time that `calibrate` takes for a model with this preprocessing."""
    if validation is not None:
        budget.reserve("calibrate", images=round(len(validation) * expected_passes(inputs)))


def calibrate(model: Model, validation: Images | None, budget: Budget | None) -> Model:
    """Return the model with its temperature fitted on validation images; unchanged if there are none.

    With a budget of time, predictions use less test-time augmentation if time is short.
    """
    if validation is None:
        return model
    uncalibrated = replace(model, temperature=1.0)
    if budget is None:
        return with_temperature(Predictor(uncalibrated), validation)[0]
    predictor = Predictor(
        uncalibrated,
        remaining=partial(budget.remaining_for, "calibrate") if budget.unit == "seconds" else None,
        pending=len(validation),
        seconds_per_pass=budget.seconds_per_pass,
    )
    with budget.track("calibrate"):
        return with_temperature(predictor, validation)[0]


def with_temperature(predictor: Predictor, validation: Images) -> tuple[Model, Predictions]:
    """Return the model of a predictor with a fitted temperature, and the predictions at temperature 1."""
    classes = len(validation.classes)
    predictions = collect_predictions(
        predictor(validation), validation.targets, classes=classes, sample=images_to_fit(classes)
    )
    temperature = fit_temperature(predictions.sample, predictions.labels[predictions.sample_indices])
    return replace(predictor.model, temperature=temperature), predictions


def train(
    images: Images, planner: Planner, planned: Planned, *, budget: Budget, validation: Images | None = None
) -> tuple[Model, TrainingSummary, Planned]:
    """Train as planned; return the model, a summary of the training, and the final plan.

    The plan may be revised once, early in the training, if steps take much longer or shorter than planned. Raises
    `UserError` for early stopping without validation images.
    """
    context = planner.context
    if planned.train.patience is not None and validation is None:
        raise UserError("patience needs validation images: pass some, or omit patience.")
    window, plans = budget.window("train"), [planned]
    revisable = context.distributed is None and planner.saved is None

    def replan(ratio: float) -> bool:
        allotment = allotment_of(budget, "train", count=len(images), later=planner.later)
        revised = planner(images, replace(allotment, length=window.remaining), slowdown=ratio)
        if (revised.network.options, revised.train.grow) == (planned.network.options, planned.train.grow):
            return False
        Checkpoint(context.folder).remove()
        context.log(f"steps take {ratio:.1f} times as long as planned: restarting with a new plan")
        plans.append(revised)
        return True

    score = None if validation is None else _score(validation, planned.model)
    hooks = Hooks(score=score, anytime=True, replan=replan if revisable else None)
    fine_tune, probed = planned.train.fine_tune, None
    if fine_tune is not None and fine_tune.probe and planner.saved is None:
        probed = _fit_probe(planned, images, window, context)
        if fine_tune.tune == HEAD:
            return planned.model, probed, planned
    context.log(f"training {planned.model.name} on {len(images):,} images")
    try:
        summary = fit(planned.model, images, window, planned.train, context, hooks)
    except BudgetTooSmall:
        if probed is None:
            raise
        context.log("only the head was trained: the budget does not allow more")
        return planned.model, probed, planned
    if summary.ended == REPLAN:
        hooks = replace(hooks, replan=None)
        summary = fit(plans[-1].model, images, window, plans[-1].train, context, hooks)
    return plans[-1].model, summary, plans[-1]


def _fit_probe(planned: Planned, images: Images, window: Window, context: Context) -> TrainingSummary:
    """Fit the head to the features of as many images as a part of the window allows; return a summary."""
    plan, count = planned.train, len(images)
    if plan.times.predict:
        count = min(count, max(round(_PROBE_FRACTION * window.remaining / plan.times.predict), _MIN_PROBED))
    context.log(f"fitting the head of {planned.model.name} to the features of {count:,} images")
    planned.model.module.to(context.device)
    probe_head(planned.model, some_of_each_class(images, count, seed=context.seed), seed=context.seed)
    forward_flops = 2.0 * count_macs(planned.model) * count
    epochs = count / len(images)
    window.budget.charge(epochs=epochs, flops=forward_flops)
    return TrainingSummary(0, epochs, plan.batch_size, "logistic regression", "float32", str(plan.grow), 0.0, "budget")


def _score(images: Images, model: Model) -> Score:
    return Score(partial(accuracy, images=images), passes=len(images) * expected_passes(model.preprocessing))


def accuracy(model: Model, images: Images) -> float:
    """Return the fraction of images that the model classifies correctly. Raises `UserError` without images."""
    predictions = collect_predictions(Predictor(model)(images), images.targets, classes=len(model.classes))
    if predictions.accuracy is None:
        raise UserError("there are no images to measure the accuracy on: pass at least one.")
    return predictions.accuracy


def prune(
    model: Model, images: Images, requested: Prune, settings: Train, *, budget: Budget | None, context: Context
) -> tuple[Model, TrainingSummary | None]:
    """Return a pruned copy of the model, and a summary of its fine-tuning (None without a budget)."""
    sample = images[np.random.default_rng(context.seed).permutation(len(images))[:_CALIBRATION_IMAGES]]
    pixels = torch.from_numpy(sample.pixels).to(context.device)
    batches = [model.prepare(part) for part in pixels.split(_CALIBRATION_BATCH)]
    model.module.to(context.device)
    targets = {"macs": requested.macs, "params": requested.params}
    pruned = shrink(model, batches, method=requested.method, log=context.log, **targets, **requested.options)
    if budget is None:
        return pruned, None
    context.log("training the pruned network")
    allotment = allotment_of(budget, "prune", count=len(images))
    plan = plan_training(pruned, images, settings, allotment, Profiler(budget, context))
    if plan.fine_tune is not None:  # the cut changed every block
        plan = replace(plan, fine_tune=replace(plan.fine_tune, tune="all"))
    return pruned, fit(pruned, images, budget.window("prune"), plan, context, Hooks(anytime=True))
