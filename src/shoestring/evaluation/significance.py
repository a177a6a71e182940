"""Is the difference between two models significant? Paired tests on the same images, corrected for their number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Z = 1.959964  # two-sided 95 % quantile of the normal distribution


@dataclass(frozen=True)
class PairedDifference:
    """Accuracy of the first model minus that of the second, on the same images.

    `interval` is the 95 % interval of the difference (Agresti and Min 2005), `only_first` and `only_second` are the
    numbers of images that only one of them predicts correctly, and `p_value` that of the exact test of McNemar (1947).
    """

    difference: float
    interval: tuple[float, float]
    only_first: int
    only_second: int
    p_value: float


def compare_paired(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedDifference:
    """Compare which of the same images (N,) two models predict correctly."""
    from scipy.stats import binomtest

    assert len(first) == len(second) > 0, "the same images"
    gained, lost = int((first & ~second).sum()), int((second & ~first).sum())
    count = len(first)
    p_value = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    b, c, total = gained + 0.5, lost + 0.5, count + 2  # half an image is added to each cell of the 2 x 2 table
    center = (b - c) / total
    half = _Z * math.sqrt(max(b + c - (b - c) ** 2 / total, 0.0)) / total
    interval = (max(center - half, -1.0), min(center + half, 1.0))
    return PairedDifference((gained - lost) / count, interval, gained, lost, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for the number of tests, in the same order (Holm 1979)."""
    count = len(p_values)
    adjusted, highest = [0.0] * count, 0.0
    for rank, index in enumerate(sorted(range(count), key=p_values.__getitem__)):
        highest = max(highest, min((count - rank) * p_values[index], 1.0))
        adjusted[index] = highest
    return adjusted
