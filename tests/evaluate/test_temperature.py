from __future__ import annotations

import numpy as np
import pytest

from shoestring.evaluate.temperature import fit_temperature, rescale


def _scores(sharpness: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities that are `sharpness` times as steep as the truth that the labels are drawn from."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(count, 4)) * 2
    truth = np.exp(rescale(logits, 1.0))
    labels = (truth.cumsum(1) < rng.random((count, 1))).sum(1)
    return rescale(logits * sharpness, 1.0), labels


@pytest.mark.parametrize("sharpness", [0.25, 1.0, 3.0])
def test_the_temperature_undoes_what_made_the_scores_too_sure_or_too_timid(sharpness):
    scores, labels = _scores(sharpness)
    assert fit_temperature(scores, labels) == pytest.approx(sharpness, rel=0.05)


def test_the_least_loss_is_found():
    scores, labels = _scores(2.0, count=500)

    def loss(temperature: float) -> float:
        return -rescale(scores, temperature)[np.arange(len(labels)), labels].mean()

    best = min(np.linspace(0.5, 5, 200), key=loss)
    assert loss(fit_temperature(scores, labels)) == pytest.approx(loss(best), abs=1e-3)


def test_a_few_images_all_right_do_not_ask_for_boundless_confidence():
    labels = np.arange(10) % 2
    scores = np.log(np.where(np.arange(2) == labels[:, None], 0.9, 0.1))
    confidence = np.exp(rescale(scores, fit_temperature(scores, labels))).max(1)
    assert confidence == pytest.approx(11 / 12, abs=1e-3)


def test_rescaling_keeps_probabilities_and_their_order():
    scores, _ = _scores(1.0, count=50)
    softer = rescale(scores, 2.5)
    assert np.exp(softer).sum(1) == pytest.approx(1.0)
    assert (softer.argmax(1) == scores.argmax(1)).all()
    assert (softer.max(1) < scores.max(1)).all()
