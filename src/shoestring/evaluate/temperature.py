"""One number that makes confidence honest: it divides all logits and changes no prediction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import fminbound

_RANGE = 3.0  # temperatures from exp(-3) to exp(3)


def fit_temperature(log_probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature with the least loss on images that were not trained on (Guo et al. 2017).

    Takes log-probabilities (N, C) and labels (N,). As in Platt (1999) each label counts as right with the probability
    (N + 1) / (N + 2) only, so that a few images, all of them right, do not ask for boundless confidence.
    """
    scores = log_probabilities.astype(np.float64)
    count, classes = scores.shape
    wrong = 1 / (count + 2)
    targets = np.full(scores.shape, wrong / (classes - 1))
    targets[np.arange(count), labels] = 1 - wrong

    def loss(log_temperature: float) -> float:
        return -float((targets * rescale(scores, np.exp(log_temperature))).sum())

    return float(np.exp(fminbound(loss, -_RANGE, _RANGE)))


def rescale(log_probabilities: NDArray, temperature: float) -> NDArray:
    """Log-probabilities (N, C) at another temperature: above one less sure, below one surer."""
    scores = log_probabilities / temperature
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
