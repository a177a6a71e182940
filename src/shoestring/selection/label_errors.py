"""Images whose label is probably wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def suspects(shares: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of the images that a network takes for another class than their label, ascending (Northcutt et al. 2021).

    `shares` are its probabilities (N, C), `labels` are (N,).

    Confident learning: a class counts as predicted when its probability is at least the mean that the images labelled
    so have for it. An image is a suspect when the likeliest of its predicted classes is not its label.
    """
    own = shares[np.arange(len(labels)), labels]
    count = np.bincount(labels, minlength=shares.shape[1])
    usual = np.bincount(labels, weights=own, minlength=shares.shape[1]) / np.maximum(count, 1)
    usual[count == 0] = np.inf  # nobody is taken for a class that has no images
    predicted = np.where(shares >= usual, shares, -1.0)
    likeliest = predicted.argmax(1)
    return np.flatnonzero((predicted.max(1) >= 0) & (likeliest != labels))
