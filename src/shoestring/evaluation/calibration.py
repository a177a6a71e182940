"""Temperature scaling: one number that divides all logits, so that confidence matches accuracy; no class changes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import fminbound

LOWEST, HIGHEST = 1 / 20, 20.0  # temperatures that are tried
MOST_VALUES = 4_000_000  # log-probabilities that a temperature is fitted to: more change it by less than a hundredth
_LEAST_IMAGES = 200  # of them, however many classes there are
_USUAL = 0.5  # standard deviation of the logarithm of temperatures, before images are seen
_EXACT = 1e-3  # of the logarithm
_LEAST_LOG = -1e4  # a probability of zero counts as this


def images_to_fit(classes: int) -> int:
    """How many images to fit a temperature to, at most: so many that 4 million numbers are held."""
    return max(MOST_VALUES // classes, _LEAST_IMAGES)


def fit_temperature(log_probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature with the least loss on images that were not trained on (Guo et al. 2017), from 1/20 to 20.

    Takes log-probabilities (N, C) and labels (N,). Few images must not ask for boundless confidence, or doubt: each
    label counts as right with the probability (N + 1) / (N + 2) only, as in Platt (1999), and the logarithm of the
    temperature has a normal prior around 0 (deviation 0.5), which hundreds of images outweigh. Without images, or with
    one class, it is 1.
    """
    count, classes = log_probabilities.shape
    if not count or classes == 1:
        return 1.0
    scores = np.maximum(log_probabilities, _LEAST_LOG, dtype=np.float32)
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
        return partition - mean / np.exp(log_temperature) + (log_temperature / _USUAL) ** 2 / 2

    return float(np.exp(fminbound(loss, np.log(LOWEST), np.log(HIGHEST), xtol=_EXACT)))
