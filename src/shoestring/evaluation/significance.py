"""Is the difference between two models significant? Paired tests, corrected for their number; intervals of means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Z = 1.959964  # two-sided 95 % quantile of the normal distribution
_ROUNDING = 1e-12  # differences below it are errors of rounding


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


def mean_interval(values: Sequence[float], *, overlap: float = 0.0) -> tuple[float, tuple[float, float] | None]:
    """Return the mean of at least one value, and its 95 % interval by Student's t; None for one value.

    For the folds of a cross-validation, whose training images overlap, `overlap` is the number of test images over that
    of training images: it widens the interval as in Nadeau and Bengio (2003), because the naive one is too narrow.
    """
    count, mean = len(values), sum(values) / len(values)
    if count < 2:
        return mean, None
    from scipy.special import stdtrit

    half = float(stdtrit(count - 1, 0.975)) * math.sqrt(_variance(values) * (1 / count + overlap))
    return mean, (max(mean - half, 0.0), min(mean + half, 1.0))


@dataclass(frozen=True)
class PairedMeans:
    """Mean accuracy of the first method minus that of the second over the same seeds, by a paired t-test.

    `interval` is the 95 % interval of the difference.
    """

    difference: float
    interval: tuple[float, float]
    p_value: float


def compare_seeds(first: Sequence[float], second: Sequence[float], *, overlap: float = 0.0) -> PairedMeans:
    """Compare the accuracies of two methods with the same seeds, or on the same folds, in the same order, at least two.

    For folds, `overlap` widens the interval as in `mean_interval`, and so makes the test more cautious.
    """
    assert len(first) == len(second) > 1, "the same seeds"
    from scipy.special import stdtr
    from scipy.stats import ttest_rel

    differences = np.subtract(first, second)
    mean = float(differences.mean())
    if _variance(differences.tolist()) == 0:  # for which scipy warns
        return PairedMeans(mean, (mean, mean), float(abs(mean) < _ROUNDING))
    test = ttest_rel(first, second)
    wider = math.sqrt(1 + len(first) * overlap)
    low, high = (mean + wider * (float(bound) - mean) for bound in test.confidence_interval(0.95))
    p_value = 2 * stdtr(len(first) - 1, -abs(test.statistic) / wider) if overlap else test.pvalue
    return PairedMeans(mean, (max(low, -1.0), min(high, 1.0)), float(p_value))


def _variance(values: Sequence[float]) -> float:
    """Return the unbiased variance of at least two values; 0 for values that differ only by rounding."""
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return 0.0 if variance < _ROUNDING**2 else variance
