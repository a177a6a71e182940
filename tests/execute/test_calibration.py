"""The temperature of a model, fitted within the budget."""

from __future__ import annotations

import pytest
import torch

from shoestring.budget import Budget
from shoestring.execute import calibrate, predict, with_temperature
from shoestring.execute import calibration as module
from shoestring.models.inference import Predictor


@pytest.fixture
def overconfident(images, make_model):
    """A model whose probabilities are all near 0 or 1."""
    model = make_model(images)
    with torch.no_grad():
        model.module.head.weight.normal_(0, 50, generator=torch.Generator().manual_seed(0))
    return model


def _loss(model, images) -> float:
    return -float(predict(model, images).log_probability.mean())


def test_the_temperature_is_fitted_to_validation_images(overconfident, images):
    calibrated = calibrate(overconfident, images, None)
    assert calibrated.temperature > 2
    assert _loss(calibrated, images) < 0.7 * _loss(overconfident, images)
    assert calibrate(calibrated, images, Budget(epochs=1)).temperature == calibrated.temperature


def test_without_validation_images_the_model_stays(overconfident, images):
    assert calibrate(overconfident, images[:0], Budget(epochs=1)) is overconfident


def test_predictions_are_those_at_temperature_1(overconfident, images):
    model, predictions = with_temperature(Predictor(overconfident), images)
    assert model.temperature > 2
    assert predictions.log_probability == pytest.approx(predict(overconfident, images).log_probability, abs=1e-4)


def test_time_for_calibration_is_tracked_and_its_reserve_released(overconfident, images, monkeypatch):
    made = []
    predictor = Predictor
    monkeypatch.setattr(module, "Predictor", lambda *args, **more: made.append(more) or predictor(*args, **more))
    budget = Budget(100, steps=("train",))
    budget.seconds_per_pass = 1e-3
    budget.reserve("evaluate", images=len(images))
    calibrate(overconfident, images, budget)
    assert budget.ledger.keys() == {"calibrate"} and budget.reserved_images == 0
    assert made[0]["pending"] == len(images) and made[0]["seconds_per_pass"] == 1e-3
    calibrate(overconfident, images, Budget(epochs=1))
    assert made[1]["remaining"] is None
