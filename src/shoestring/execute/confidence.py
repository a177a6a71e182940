"""Confident predictions: probabilities of predicted classes, and the threshold above which they are reliable."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

_ACCURACY = 0.95  # of the predictions of validation images above the confidence
_MIN_IMAGES, _LEAST = 20, 0.5  # validation images above it, and the lowest one
DEFAULT_CONFIDENCE = 0.95  # without enough validation images


def choose_confidence(probability: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """Return the lowest confidence above which 95 % of the predictions of validation images are right.

    `probability` (N,) is that of the predicted class, `right` (N,) whether it is the label. The confidence is at least
    0.5, and 0.95 if there is none at which as many predictions of at least 20 images are right.
    """
    order = np.argsort(-probability, kind="stable")
    accuracy = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    last = np.append(np.diff(probability[order]) != 0, True) if len(order) else np.zeros(0, dtype=bool)
    enough = np.flatnonzero((accuracy >= _ACCURACY) & (np.arange(len(order)) >= _MIN_IMAGES - 1) & last)
    return max(float(probability[order][enough[-1]]), _LEAST) if len(enough) else DEFAULT_CONFIDENCE


def most_probable(
    batches: Iterable[NDArray[np.float32]], enough: Callable[[], bool] = lambda: False
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the most probable class and its probability, each (n,), from batches of log-probabilities (b, C).

    No further batch is read once `enough` returns True.
    """
    labels, probabilities = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.float32)]
    for batch in batches:
        labels.append(batch.argmax(1))
        probabilities.append(np.exp(batch.max(1)))
        if enough():
            break
    return np.concatenate(labels), np.concatenate(probabilities)
