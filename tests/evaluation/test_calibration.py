from __future__ import annotations

import numpy as np
import pytest

from shoestring.evaluation.calibration import MAX_TEMPERATURE, MIN_TEMPERATURE, fit_temperature, images_to_fit


def rescale(log_probabilities: np.ndarray, temperature: float) -> np.ndarray:
    scores = log_probabilities / temperature
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)


def _scores(sharpness: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities that are `sharpness` times as steep as those that the labels are drawn from."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(count, 4)) * 2
    truth = np.exp(rescale(logits, 1.0))
    labels = (truth.cumsum(1) < rng.random((count, 1))).sum(1)
    return rescale(logits * sharpness, 1.0), labels


@pytest.mark.parametrize("sharpness", [0.25, 1.0, 3.0])
def test_temperature_undoes_scaling_of_scores(sharpness):
    scores, labels = _scores(sharpness)
    assert fit_temperature(scores, labels) == pytest.approx(sharpness, rel=0.05)


def test_temperature_minimizes_the_loss():
    scores, labels = _scores(2.0, count=500)

    def loss(temperature: float) -> float:
        return -rescale(scores, temperature)[np.arange(len(labels)), labels].mean()

    best = min(np.linspace(0.5, 5, 200), key=loss)
    assert loss(fit_temperature(scores, labels)) == pytest.approx(loss(best), abs=1e-3)


def test_the_temperature_minimizes_the_regularized_loss():
    rng = np.random.default_rng(0)
    scores, labels = rescale(rng.normal(size=(12, 3)) * 3, 1.0), rng.integers(0, 3, 12)
    right = (12 + 1) / (12 + 2)
    targets = np.where(np.arange(3) == labels[:, None], right, (1 - right) / 2)

    def loss(temperature: float) -> float:
        return -(targets * rescale(scores, temperature)).sum() + (np.log(temperature) / 0.5) ** 2 / 2

    best = min(np.geomspace(0.1, 10, 20_000), key=loss)
    assert fit_temperature(scores.astype(np.float32), labels) == pytest.approx(best, rel=2e-3)


@pytest.mark.parametrize("count", [1, 2, 10, 40])
@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("sure", [0.6, 0.9, 0.9999])
def test_temperature_is_regularized_for_few_images(count, right, sure):
    labels = np.arange(count) % 2
    named = labels if right else 1 - labels
    scores = np.log(np.where(np.arange(2) == named[:, None], sure, 1 - sure)).astype(np.float32)
    temperature = fit_temperature(scores, labels)
    confidence = np.exp(rescale(scores, temperature)).max()
    assert confidence < max(sure, (count + 1) / (count + 2)) + 1e-3
    assert MIN_TEMPERATURE <= temperature <= MAX_TEMPERATURE
    if count == 1:
        assert 0.4 < temperature < 5


@pytest.mark.parametrize("log_probability", [-np.inf, -200.0])
def test_zero_probabilities_give_a_temperature_within_bounds(log_probability):
    scores = np.tile(np.array([0.0, log_probability, log_probability], dtype=np.float32), (200, 1))
    for label in (0, 1):
        assert MIN_TEMPERATURE <= fit_temperature(scores, np.full(200, label)) <= MAX_TEMPERATURE


def test_temperature_is_one_without_images_or_with_one_class():
    assert fit_temperature(np.zeros((0, 3), dtype=np.float32), np.zeros(0, dtype=np.int64)) == 1.0
    assert fit_temperature(np.zeros((5, 1), dtype=np.float32), np.zeros(5, dtype=np.int64)) == 1.0


def test_number_of_images_to_fit_depends_on_classes():
    assert images_to_fit(10) == 400_000
    assert images_to_fit(2000) == 2000
    assert images_to_fit(10**6) == 200
