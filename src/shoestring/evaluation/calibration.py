"""Temperature scaling: one divisor of all logits that matches confidence to accuracy and changes no prediction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

MIN_TEMPERATURE, MAX_TEMPERATURE = 1 / 20, 20.0
_MAX_VALUES = 4_000_000  # log-probabilities to fit; more change the temperature by less than 0.01
_MIN_IMAGES = 200  # to fit, however many classes there are
_PRIOR_STD = 0.5  # of the logarithm of the temperature
_TOLERANCE = 1e-3  # of the logarithm of the temperature
_MIN_LOG_PROBABILITY = -1e4  # replaces minus infinity
_GOLDEN = (5**0.5 - 1) / 2


def images_to_fit(classes: int) -> int:
    """Return the maximum number of images to fit a temperature to: those of 4 million log-probabilities."""
    return max(_MAX_VALUES // classes, _MIN_IMAGES)


def fit_temperature(log_probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the temperature, from 1/20 to 20, that minimizes the loss on held-out images (Guo et al. 2017).

    Takes log-probabilities (N, C) and labels (N,). Two regularizers prevent extreme temperatures with few images: each
    label counts as correct with probability (N + 1) / (N + 2) only, as in Platt (1999), and the logarithm of the
    temperature has a normal prior (mean 0, standard deviation 0.5), which hundreds of images outweigh. Without images,
    or with a single class, the temperature is 1.
    """
    count, classes = log_probabilities.shape
    if not count or classes == 1:
        return 1.0
    scores = np.maximum(log_probabilities, _MIN_LOG_PROBABILITY, dtype=np.float32)
    highest = scores.max(1, keepdims=True)
    below, buffer = scores - highest, np.empty_like(scores)
    of_label = below[np.arange(count), labels].sum(dtype=np.float64)
    of_all = below.sum(dtype=np.float64)
    wrong = 1 / (count + 2)
    mean = (1 - wrong) * of_label + wrong / (classes - 1) * (of_all - of_label)

    def loss(log_temperature: float) -> float:
        np.multiply(below, np.float32(np.exp(-log_temperature)), out=buffer)
        np.exp(buffer, out=buffer)
        partition = np.log(buffer.sum(1, dtype=np.float64)).sum()
        return partition - mean / np.exp(log_temperature) + (log_temperature / _PRIOR_STD) ** 2 / 2

    return float(np.exp(_minimum(loss, np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE))))


def _minimum(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function of one minimum has it, by golden-section search: `scipy.optimize` takes longer to import."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > _TOLERANCE:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = function(right)
    return (low + high) / 2
