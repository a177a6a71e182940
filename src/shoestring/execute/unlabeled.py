"""Train with images that have no labels, on labels that the network predicts with confidence."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from shoestring.budget import Budget, Window
from shoestring.config.plan import UnlabeledPlan
from shoestring.config.units import format_percent
from shoestring.data import Images
from shoestring.data.labels import weighted_by_class
from shoestring.data.predicted import joined, repeated, unselected, with_predicted
from shoestring.errors import BudgetTooSmall, UserError
from shoestring.evaluation.cost import count_macs
from shoestring.evaluation.metrics import Predictions
from shoestring.execute.calibration import with_temperature
from shoestring.execute.confidence import DEFAULT_CONFIDENCE, choose_confidence, most_probable
from shoestring.execute.first_part import FirstPart, UnlabeledUse
from shoestring.execute.prediction import accuracy
from shoestring.execute.training import fit_head, images_to_fit_head, score_on, train
from shoestring.models.blocks import HEAD
from shoestring.models.inference import Predictor
from shoestring.models.model import Model
from shoestring.planning.resolve import Resolved
from shoestring.planning.unlabeled import plan_second_part
from shoestring.runtime.context import Context
from shoestring.training.checkpoint import Checkpoint, Fresh, Saved
from shoestring.training.loop import Hooks, fit
from shoestring.training.progress import TrainingSummary

_COMPARE = "compare"  # reserved for predicting the validation images once more


def all_unlabeled(resolved: Resolved, images: Images, others: Images | None = None) -> Images | None:
    """Return the images without labels: those that were not selected, and `others`; None if they are not used."""
    if resolved.unlabeled is None:
        return None
    rest = unselected(resolved.data.train, images)
    if others is not None and others.shape != rest.shape:
        others = others.resized(rest.shape[0])
    return rest if others is None else joined(rest, others) if len(rest) else others


def train_on_all(
    images: Images, others: Images | None, resolved: Resolved, *, budget: Budget, validation: Images | None = None
) -> tuple[Model, TrainingSummary, Resolved, UnlabeledUse | None]:
    """Train as planned, also on `others`, images without labels; return as `train` does, and how they were used.

    The network is first trained on the labeled images. It then predicts the others, and those predicted with
    confidence get the predicted label (Lee 2013, "Pseudo-Label"). Training continues with both, and the result is kept
    unless the validation accuracy falls. True labels of the others only measure how many of the predicted ones are
    right.
    """
    if others is None or not len(others):
        return *train(images, resolved, budget=budget, validation=validation), None
    plan = resolved.unlabeled
    assert plan is not None
    context, validation = resolved.planner.context, validation if validation else None
    first, window, saved = FirstPart.load(context.folder), budget.window("train"), resolved.planner.saved
    if first is None:
        saved = None  # of the first part
        part = Window(budget, window.start, window.portion * plan.first)
        try:
            model, summary, _ = train(images, resolved, budget=budget, validation=validation, window=part)
        except BudgetTooSmall:
            context.log("there is no time for images without labels")
            return *train(images, resolved, budget=budget, validation=validation), UnlabeledUse(len(others))
        window.restart()
        first = _label(model, summary, others, validation, plan, window, context)
        Checkpoint(context.folder).remove()  # of the first part: from here on, there is one of the second
        first.save(context.folder)
    if first.use.images != len(others):
        raise UserError("the images without labels have changed since the run was started: choose another --out.")
    model, use = replace(first.model, module=copy.deepcopy(first.model.module)), first.use
    if validation is not None:
        budget.reserve(_COMPARE, images=len(validation))
    both = with_predicted(images, others[first.indices], first.labels)
    summary = _train_further(model, both, len(images), resolved, window, validation, saved)
    budget.release(_COMPARE)
    if summary is not None:
        after = None if validation is None else accuracy(_plain(model), validation)
        fell = after is not None and use.before is not None and after < use.before
        use = replace(use, after=after, kept=not fell and use.used > 0)
        if fell:
            model, summary = first.model, first.summary
        if use.used:
            context.log(_comparison(use, fell))
    return model, summary or first.summary, resolved, use


def _label(
    model: Model,
    summary: TrainingSummary,
    others: Images,
    validation: Images | None,
    plan: UnlabeledPlan,
    window: Window,
    context: Context,
) -> FirstPart:
    """Predict as many of the other images as a part of the window allows, and label those with enough confidence."""
    plain, confidence, before, budget = _plain(model), plan.confidence, None, window.budget
    if validation is not None:
        plain, predictions = with_temperature(Predictor(plain), validation)
        assert isinstance(predictions, Predictions)  # of one class for each image, as planned
        before = predictions.accuracy
        if confidence is None:
            scores = torch.from_numpy(predictions.sample / plain.temperature).log_softmax(1).numpy()
            labels, probability = most_probable([scores])
            confidence = choose_confidence(probability, labels == predictions.labels[predictions.sample_indices])
    confidence = DEFAULT_CONFIDENCE if confidence is None else confidence
    order = np.random.default_rng(context.seed).permutation(len(others))
    allowed, macs = plan.predict / (1 - plan.first) * window.length, count_macs(model)
    end = budget.spent + allowed
    if budget.unit == "flops":
        order = order[: int(allowed / (2.0 * macs))]
    context.log(f"predicting up to {len(order):,} images without labels")
    labels, probability = most_probable(
        Predictor(plain)(others[order]), lambda: budget.unit == "seconds" and budget.spent > end
    )
    budget.charge(flops=2.0 * macs * len(labels))
    kept = np.flatnonzero(probability >= confidence)
    indices, labels = order[kept], labels[kept]
    right = _right(others, indices, labels, model.classes)
    use = UnlabeledUse(len(others), len(probability), len(kept), float(confidence), right, before)
    context.log(f"{use.used:,} of {use.predicted:,} images get the predicted label, at {format_percent(confidence)}")
    return FirstPart(replace(model, module=copy.deepcopy(model.module)), summary, indices, labels, use)


def _right(
    others: Images, indices: NDArray[np.int64], labels: NDArray[np.int64], classes: tuple[str, ...]
) -> float | None:
    """The fraction of predicted labels that are the true ones; None if these are not known."""
    if others.labels is None or others.classes != classes or not len(indices):
        return None
    return float((others.labels[indices] == labels).mean())


def _train_further(
    model: Model,
    both: Images,
    labeled: int,
    resolved: Resolved,
    window: Window,
    validation: Images | None,
    saved: Saved | None,
) -> TrainingSummary | None:
    """Train a model in place on images of which the first ones are labeled by people; None if nothing can be trained.

    The training resumes from a checkpoint if one was saved.
    """
    assert resolved.training is not None
    planned, planner = replace(resolved.training, model=model), resolved.planner
    fine_tune, context = planned.train.fine_tune, planner.context
    if fine_tune is not None and fine_tune.probe and fine_tune.tune == HEAD:
        most = max(images_to_fit_head(len(both), planned.train, window), labeled)
        return fit_head(planned, both[:most], window, context) if len(both) > labeled else None
    plan = plan_second_part(planned, planner, both, window) if saved is None else saved.plan
    images = weighted_by_class(repeated(both, labeled), plan.class_weights)
    context.log(f"training {model.name} on {len(both):,} images, {labeled:,} of them with known labels")
    score = None if validation is None else score_on(validation, model)
    start = Fresh() if saved is None else saved.start(window.budget.total)
    try:
        return fit(model, images, window, plan, context, Hooks(score=score, anytime=True), start=start)
    except BudgetTooSmall:
        context.log("there is no time to train on images without labels")
        return None


def _plain(model: Model) -> Model:
    """The model without test-time augmentation and temperature, which takes one pass for each image."""
    return replace(model, preprocessing=replace(model.preprocessing, mirror=False, shift=0), temperature=1.0)


def _comparison(use: UnlabeledUse, fell: bool) -> str:
    if use.before is None or use.after is None:
        return "there are no validation images on which to compare it with the earlier network"
    before, after = format_percent(use.before), format_percent(use.after)
    kept = "the earlier network is kept" if fell else "kept"
    return f"validation accuracy {before} without and {after} with predicted labels: {kept}"
