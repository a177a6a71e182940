"""Two models on the same images: did the accuracy change, for which classes, and what is confused now."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.evaluation.metrics import wilson_interval

_Z = 1.959964  # two-sided 95 % quantile of the normal distribution
_MAX_EXACT = 1000  # changed images up to which the binomial test is exact


@dataclass(frozen=True)
class ClassChange:
    """Recall of one class before and after, their difference, and its 95 % interval."""

    name: str
    images: int
    before: float
    after: float
    change: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Confusion:
    """How many images of one class were predicted as another one, before and after."""

    name: str
    predicted: str
    before: int
    after: int


@dataclass(frozen=True)
class Comparison:
    """Accuracies from 0 to 1 of two models on the same images.

    `broken` is the number of images that only the first model classifies correctly, `fixed` that of those that only the
    second does, and `p_value` that of McNemar's test (1947) of whether both are equally likely. `per_class` has the
    classes with images, `confusions` those that became more frequent, the largest gain first.
    """

    images: int
    before: float
    before_interval: tuple[float, float]
    after: float
    after_interval: tuple[float, float]
    change: float
    interval: tuple[float, float]
    broken: int
    fixed: int
    p_value: float
    per_class: tuple[ClassChange, ...]
    confusions: tuple[Confusion, ...]

    @property
    def most_harmed(self) -> list[str]:
        """Classes whose recall fell by more than chance explains (the interval is below zero), the worst first."""
        harmed = [entry for entry in self.per_class if entry.interval[1] < 0]
        return [entry.name for entry in sorted(harmed, key=lambda entry: entry.change)]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {**asdict(self), "most_harmed": self.most_harmed}


def compare(
    labels: NDArray[np.int64], before: NDArray[np.int64], after: NDArray[np.int64], classes: tuple[str, ...]
) -> Comparison:
    """Compare the predicted classes (N,) of two models for the same images, at least one, with these labels (N,)."""
    right, right_after = before == labels, after == labels
    broken, fixed = int((right & ~right_after).sum()), int((~right & right_after).sum())
    per_class = tuple(
        _class_change(name, right[own], right_after[own])
        for index, name in enumerate(classes)
        if (own := labels == index).any()
    )
    count = len(labels)
    return Comparison(
        images=count,
        before=float(right.mean()),
        before_interval=wilson_interval(int(right.sum()), count),
        after=float(right_after.mean()),
        after_interval=wilson_interval(int(right_after.sum()), count),
        change=(fixed - broken) / count,
        interval=change_interval(broken, fixed, count),
        broken=broken,
        fixed=fixed,
        p_value=mcnemar(broken, fixed),
        per_class=per_class,
        confusions=_confusions(labels, before, after, classes),
    )


def mcnemar(broken: int, fixed: int) -> float:
    """Return the two-sided p-value of McNemar's test, exact for up to 1,000 changed images.

    For more, it is that of the normal approximation with Edwards' continuity correction.
    """
    changed, fewer = broken + fixed, min(broken, fixed)
    if not changed:
        return 1.0
    if changed <= _MAX_EXACT:
        tail = sum(math.comb(changed, k) for k in range(fewer + 1))
        return min(1.0, 2 * tail / 2**changed)
    statistic = max(abs(broken - fixed) - 1, 0) / math.sqrt(changed)
    return math.erfc(statistic / math.sqrt(2))


def change_interval(broken: int, fixed: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of the change of a proportion in paired samples (Agresti & Min 2005)."""
    broken_, fixed_, total = broken + 0.5, fixed + 0.5, count + 2
    change = (fixed_ - broken_) / total
    error = math.sqrt(broken_ + fixed_ - (fixed_ - broken_) ** 2 / total) / total
    return max(-1.0, change - _Z * error), min(1.0, change + _Z * error)


def _class_change(name: str, right: NDArray[np.bool_], right_after: NDArray[np.bool_]) -> ClassChange:
    broken, fixed, count = int((right & ~right_after).sum()), int((~right & right_after).sum()), len(right)
    interval = change_interval(broken, fixed, count)
    return ClassChange(name, count, float(right.mean()), float(right_after.mean()), (fixed - broken) / count, interval)


def _confusions(
    labels: NDArray[np.int64], before: NDArray[np.int64], after: NDArray[np.int64], classes: tuple[str, ...]
) -> tuple[Confusion, ...]:
    counts: dict[int, list[int]] = {}
    for index, predicted in enumerate((before, after)):
        wrong = predicted != labels
        cells, images = np.unique(labels[wrong] * len(classes) + predicted[wrong], return_counts=True)
        for cell, number in zip(cells.tolist(), images.tolist()):
            counts.setdefault(cell, [0, 0])[index] = number
    gained = [(cell, *pair) for cell, pair in counts.items() if pair[1] > pair[0]]
    gained.sort(key=lambda entry: (entry[1] - entry[2], entry[0]))
    return tuple(
        Confusion(classes[cell // len(classes)], classes[cell % len(classes)], first, second)
        for cell, first, second in gained
    )
