"""Accuracy with its interval, per class, confusion, loss and calibration error, from log-probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Z = 1.959964  # two-sided 95 % of the normal distribution
_BINS = 15


@dataclass(frozen=True)
class ClassMetrics:
    """One class: images of it, and shares from 0 to 1; precision is None when the class was never predicted."""

    name: str
    images: int
    recall: float | None
    precision: float | None
    f1: float | None


@dataclass(frozen=True)
class Metrics:
    """Numbers of one model on one named split; shares from 0 to 1.

    `confusion[i][j]` counts images of class i taken for class j; `calibration_error` is the expected one over 15 bins
    of equal width (Naeini et al. 2015, Guo et al. 2017).
    """

    split: str
    images: int
    accuracy: float
    interval: tuple[float, float]  # 95 %, Wilson 1927
    loss: float
    calibration_error: float
    per_class: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]

    def as_dict(self) -> dict[str, Any]:
        """The numbers as JSON takes them; classes by name."""
        return {
            "split": self.split,
            "images": self.images,
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "loss": self.loss,
            "calibration_error": self.calibration_error,
            "per_class": {
                entry.name: {
                    "images": entry.images,
                    "recall": entry.recall,
                    "precision": entry.precision,
                    "f1": entry.f1,
                }
                for entry in self.per_class
            },
            "confusion": [list(row) for row in self.confusion],
        }


def measure(
    log_probabilities: NDArray[np.float32], labels: NDArray[np.int64], *, classes: tuple[str, ...], split: str
) -> Metrics:
    """Metrics of log-probabilities (N, C) against labels (N,). Raises `ValueError` when there are no images."""
    if not len(labels):
        raise ValueError(f"the {split} split has no images to evaluate on.")
    predicted = log_probabilities.argmax(1)
    right = predicted == labels
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    return Metrics(
        split=split,
        images=len(labels),
        accuracy=float(right.mean()),
        interval=wilson(int(right.sum()), len(labels)),
        loss=float(-log_probabilities[np.arange(len(labels)), labels].mean(dtype=np.float64)),
        calibration_error=calibration_error(np.exp(log_probabilities.max(1)), right),
        per_class=tuple(_class(name, confusion, index) for index, name in enumerate(classes)),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
    )


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927)."""
    share, spread = successes / trials, _Z**2 / trials
    centre = (share + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(share * (1 - share) / trials + spread / (4 * trials)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def calibration_error(confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """Mean distance of confidence (N,) and accuracy over bins of confidence, weighted by their images."""
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    gap = np.bincount(bins, weights=confidence.astype(np.float64) - right, minlength=_BINS)
    return float(np.abs(gap).sum() / len(right))


def _class(name: str, confusion: NDArray[np.int64], index: int) -> ClassMetrics:
    hit, held, given = int(confusion[index, index]), int(confusion[index].sum()), int(confusion[:, index].sum())
    recall = hit / held if held else None
    precision = hit / given if given else None
    f1 = 2 * hit / (held + given) if held else None
    return ClassMetrics(name, held, recall, precision, f1)
