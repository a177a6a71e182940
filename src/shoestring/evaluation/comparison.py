"""Two models on the same images: did the accuracy change, for which classes, and what is confused now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.evaluation.metrics import wilson_interval
from shoestring.evaluation.significance import change_interval, holm, mcnemar

_SIGNIFICANT = 0.05  # p-value below which chance does not explain a change


@dataclass(frozen=True)
class ClassChange:
    """Recall of one class before and after, their difference, and its 95 % interval.

    `p_value` is that of McNemar's test (1947) of this change, adjusted for the number of classes (Holm 1979).
    """

    name: str
    images: int
    before: float
    after: float
    change: float
    interval: tuple[float, float]
    p_value: float


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
        """Classes whose recall fell by more than chance explains (p below 0.05), the worst first."""
        harmed = [entry for entry in self.per_class if entry.change < 0 and entry.p_value < _SIGNIFICANT]
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
        per_class=tuple(_class_changes(labels, right, right_after, classes)),
        confusions=_confusions(labels, before, after, classes),
    )


def _class_changes(
    labels: NDArray[np.int64], right: NDArray[np.bool_], right_after: NDArray[np.bool_], classes: tuple[str, ...]
) -> Iterator[ClassChange]:
    rows = {name: own for index, name in enumerate(classes) if len(own := np.flatnonzero(labels == index))}
    pairs = [(int((right & ~right_after)[own].sum()), int((~right & right_after)[own].sum())) for own in rows.values()]
    p_values = holm([mcnemar(broken, fixed) for broken, fixed in pairs])
    for (name, own), (broken, fixed), p_value in zip(rows.items(), pairs, p_values):
        before, after, count = float(right[own].mean()), float(right_after[own].mean()), len(own)
        interval = change_interval(broken, fixed, count)
        yield ClassChange(name, count, before, after, (fixed - broken) / count, interval, p_value)


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
