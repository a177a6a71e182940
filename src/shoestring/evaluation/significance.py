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
    assert len(first) == len(second) > 0, "the same images"
    gained, lost = int((first & ~second).sum()), int((second & ~first).sum())
    interval = change_interval(lost, gained, len(first))
    return PairedDifference((gained - lost) / len(first), interval, gained, lost, mcnemar(lost, gained))


def mcnemar(broken: int, fixed: int) -> float:
    """Return the two-sided p-value of McNemar's exact test: are images as likely to be broken as to be fixed?"""
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(broken, fixed), broken + fixed, 0.5))) if broken + fixed else 1.0


def change_interval(broken: int, fixed: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of the change of a proportion in paired samples (Agresti & Min 2005).

    Half an image is added to each cell of the 2 x 2 table.
    """
    broken_, fixed_, total = broken + 0.5, fixed + 0.5, count + 2
    change = (fixed_ - broken_) / total
    half = _Z * math.sqrt(max(broken_ + fixed_ - (fixed_ - broken_) ** 2 / total, 0.0)) / total
    return max(-1.0, change - half), min(1.0, change + half)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for the number of tests, in the same order (Holm 1979)."""
    count = len(p_values)
    adjusted, highest = [0.0] * count, 0.0
    for rank, index in enumerate(sorted(range(count), key=p_values.__getitem__)):
        highest = max(highest, min((count - rank) * p_values[index], 1.0))
        adjusted[index] = highest
    return adjusted
