"""Fit the temperature of a model within the budget."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from shoestring.budget import Budget
from shoestring.data import Images
from shoestring.evaluation.tasks import AnyPredictions, collect, temperature_of
from shoestring.models.inference import Predictor
from shoestring.models.model import Model


def calibrate(model: Model, validation: Images, budget: Budget | None) -> Model:
    """Return the model with its temperature fitted on validation images; unchanged if there are none.

    With a budget of time, predictions use less test-time augmentation if time is short.
    """
    if not len(validation):
        return model
    uncalibrated = replace(model, temperature=1.0)
    if budget is None:
        return with_temperature(Predictor(uncalibrated), validation)[0]
    predictor = Predictor(
        uncalibrated,
        remaining=partial(budget.remaining_for, "evaluate") if budget.unit == "seconds" else None,
        pending=len(validation),
        seconds_per_pass=budget.seconds_per_pass,
    )
    with budget.track("calibrate"):
        calibrated, _ = with_temperature(predictor, validation)
    budget.release("evaluate")
    return calibrated


def with_temperature(predictor: Predictor, validation: Images) -> tuple[Model, AnyPredictions]:
    """Return the model of a predictor with a fitted temperature, and the predictions at temperature 1."""
    predictions = collect(predictor(validation), validation, to_fit=True)
    return replace(predictor.model, temperature=temperature_of(predictions)), predictions
