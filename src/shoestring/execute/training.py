"""Train a network as planned."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from shoestring.budget import Budget, Window
from shoestring.config.plan import TrainPlan
from shoestring.data import Images
from shoestring.data.labels import weighted_by_class
from shoestring.errors import BudgetTooSmall
from shoestring.evaluation.cost import count_macs
from shoestring.execute.prediction import predict
from shoestring.models.blocks import HEAD
from shoestring.models.model import Model
from shoestring.models.tta import expected_passes
from shoestring.planning.plan import Planned, allotment_of
from shoestring.planning.resolve import Resolved
from shoestring.runtime.context import Context
from shoestring.training.checkpoint import Checkpoint, Start
from shoestring.training.early_stopping import Score
from shoestring.training.loop import REPLAN, Hooks, fit
from shoestring.training.probe import MIN_PROBED, head_flops, method_of, probe_head, some_of_each_class
from shoestring.training.progress import TrainingSummary

_PROBE_FRACTION = 0.25  # of the time for training
_MIN_VALIDATED = 64  # images that the accuracy of a snapshot is measured on


def train(
    images: Images,
    resolved: Resolved,
    *,
    budget: Budget,
    validation: Images | None = None,
    window: Window | None = None,
) -> tuple[Model, TrainingSummary, Resolved]:
    """Train as planned; return the model, a summary of the training, and the final plan.

    The plan may be revised once, early in the training, if steps take much longer or shorter than planned. With a
    `window`, it is trained only for that part of the budget, and the plan stays.
    """
    assert resolved.training is not None
    planner = resolved.planner
    planned, context = resolved.training.built_for(images, planner), planner.context
    views = 0 if planned.train.fine_tune is None else planned.train.fine_tune.views
    # with views of a frozen part, steps take less time than those that were timed
    revisable = window is None and context.distributed is None and planner.saved is None and not views
    window, revised = window or budget.window("train"), list[Planned]()

    def replan(ratio: float) -> bool:
        allotment = allotment_of(budget, "train", count=len(images), later=planner.later)
        again = planner(images, replace(allotment, length=window.remaining), slowdown=ratio)
        if _answers(again) == _answers(planned):
            return False
        Checkpoint(context.folder).remove()
        context.log(f"steps take {ratio:.1f} times as long as planned: restarting with a new plan")
        revised.append(again)
        return True

    score = score_on(validation, planned.model) if validation else None
    validate = partial(_sampled_metrics, validation) if validation else None
    hooks = Hooks(score=score, anytime=True, replan=replan if revisable else None, validate=validate)
    start = None if planner.saved is None else planner.saved.start(budget.total)
    summary = _train_planned(planned, images, window, context, hooks, start)
    if summary.ended == REPLAN:
        planned, hooks = revised[0].built_for(images, planner), replace(hooks, replan=None)
        resolved = resolved.revised(planned, images, budget)
        summary = _train_planned(planned, images, window, context, hooks)
    return planned.model, summary, resolved


def _train_planned(
    planned: Planned, images: Images, window: Window, context: Context, hooks: Hooks, start: Start | None = None
) -> TrainingSummary:
    """Train the model of a plan in place; return a summary. The head of a pretrained network is fitted before."""
    plan, probed = planned.train, None
    if plan.fine_tune is not None and plan.fine_tune.probe and start is None:
        probed = fit_head(planned, images, window, context)
        if plan.fine_tune.tune == HEAD:
            return probed
    context.log(f"training {planned.model.name} on {len(images):,} images")
    images = weighted_by_class(images, plan.class_weights)
    try:
        return fit(planned.model, images, window, plan, context, hooks, start=start)
    except BudgetTooSmall:
        if probed is None:
            raise
        context.log("only the head was trained: the budget does not allow more")
        return probed


def _answers(planned: Planned) -> tuple[object, ...]:
    """What depends on the time of a step, and requires a new start if it changes."""
    train = planned.train
    tune = train.fine_tune and train.fine_tune.tune
    return planned.network.options, train.side, tune, train.grow, train.batch_size


def fit_head(planned: Planned, images: Images, window: Window, context: Context) -> TrainingSummary:
    """Fit the head to the features of as many images as a part of the window allows; return a summary."""
    plan, count = planned.train, images_to_fit_head(len(images), planned.train, window)
    context.log(f"fitting the head of {planned.model.name} to the features of {count:,} images")
    planned.model.module.to(context.device)
    sample = weighted_by_class(some_of_each_class(images, count, seed=context.seed), plan.class_weights)
    seconds = _PROBE_FRACTION * window.remaining if window.budget.unit == "seconds" else None
    features = probe_head(planned.model, sample, precision=plan.precision, seed=context.seed, seconds=seconds)
    if len(features) < count:
        context.log(f"time was short: the head is fitted to the features of {len(features):,} of them")
        count = len(features)
    forward_flops = 2.0 * count_macs(planned.model) * count
    epochs = count / len(images)
    window.budget.charge(epochs=epochs, flops=forward_flops + head_flops(planned.model, count))
    window.restart()  # the probe is not part of the learning-rate schedule
    method = method_of(planned.model)
    return TrainingSummary(0, epochs, plan.batch_size, method, "float32", str(plan.grow), 0.0, "budget")


def images_to_fit_head(count: int, plan: TrainPlan, window: Window) -> int:
    """Return the number of images, of `count`, to whose features a head is fitted in a part of the window."""
    if not plan.times.predict:
        return count
    return min(count, max(round(_PROBE_FRACTION * window.remaining / plan.times.predict), MIN_PROBED))


def score_on(images: Images, model: Model) -> Score:
    """Return the accuracy on these images as the score of early stopping."""
    return Score(partial(_measure_score, images=images), passes=len(images) * expected_passes(model.preprocessing))


def _measure_score(model: Model, images: Images) -> float:
    """Return the accuracy, or of labels the mean average precision; 0 if no image has a label."""
    return predict(model, images).score or 0.0


def _sampled_metrics(images: Images, model: Model, count: int) -> dict[str, float] | None:
    """Return accuracy and loss on at most `count` images, without test-time augmentation; None if these are too few."""
    count = min(count, len(images))
    if count < min(_MIN_VALIDATED, len(images)):
        return None
    rows = np.sort(np.random.default_rng(0).choice(len(images), count, replace=False))
    plain = replace(model, preprocessing=replace(model.preprocessing, mirror=False, shift=0))
    predictions = predict(plain, images[rows])
    assert predictions.accuracy is not None and predictions.loss is not None  # there are images
    return {"validation": predictions.accuracy, "validation_loss": predictions.loss}
