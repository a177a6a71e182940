"""Images whose label is probably wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def find_label_errors(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ascending indices of probable label errors, by confident learning (Northcutt et al. 2021).

    Given `probabilities` (N, C) and `labels` (N,), a class is predicted if its probability is at least the mean
    probability that the images with this label have for it. A label is an error if the most probable of the predicted
    classes is another one.
    """
    own = probabilities[np.arange(len(labels)), labels]
    count = np.bincount(labels, minlength=probabilities.shape[1])
    threshold = np.bincount(labels, weights=own, minlength=probabilities.shape[1]) / np.maximum(count, 1)
    threshold[count == 0] = np.inf  # a class without images is never predicted
    predicted = np.where(probabilities >= threshold, probabilities, -1.0)
    most_probable = predicted.argmax(1)
    return np.flatnonzero((predicted.max(1) >= 0) & (most_probable != labels))
