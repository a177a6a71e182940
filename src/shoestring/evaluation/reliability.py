"""Reliability diagrams: how often predictions of a certain confidence are right."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.evaluation.metrics import wilson_interval


def reliability_bins(
    confidence: NDArray[np.floating], correct: NDArray[np.bool_], *, bins: int = 10
) -> list[dict[str, Any]]:
    """Return mean `confidence`, `accuracy`, its 95 % `interval` and number of `images` of each nonempty bin.

    `confidence` (N,) are the probabilities of the predicted classes, `correct` (N,) says which predictions are right;
    bins are of equal width (DeGroot and Fienberg 1983).
    """
    which = np.minimum((np.asarray(confidence) * bins).astype(np.int64), bins - 1)
    result = []
    for number in np.unique(which):
        inside = which == number
        right, images = int(correct[inside].sum()), int(inside.sum())
        mean = float(confidence[inside].mean(dtype=np.float64))
        interval = wilson_interval(right, images)
        result.append({"confidence": mean, "accuracy": right / images, "interval": interval, "images": images})
    return result
