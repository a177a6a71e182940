"""Accuracy with its interval, per class, confusion, loss and calibration error of the predictions of a model."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.errors import UserError

_Z = 1.959964  # two-sided 95 % of the normal distribution
_BINS = 15
_LEAST_LOG = math.log(2.0**-149)  # of the smallest positive float32: what a probability of zero counts as


@dataclass(frozen=True)
class Predictions:
    """What is kept of log-probabilities (N, C): a few numbers for each image, not one for each image and class.

    `predicted` are class indices, `confidence` the probabilities of these classes, `log_probability` that of the label,
    each (N,). `sample` holds whole rows (K, C) of the images at `sample_indices` (K,), evenly spread over all.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float32]
    log_probability: NDArray[np.float32]
    sample: NDArray[np.float32]
    sample_indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def accuracy(self) -> float | None:
        """Fraction of images whose predicted class is the label; None without images."""
        return float((self.predicted == self.labels).mean()) if len(self) else None


def collect(
    parts: Iterable[NDArray[np.float32]], labels: NDArray[np.int64], *, classes: int, sample: int = 0
) -> Predictions:
    """Predictions from log-probabilities that come in parts (n, C), in order, against labels (N,) of all.

    At most `sample` rows are kept whole. Raises `UserError` when outputs are not numbers.
    """
    count, start, broken = len(labels), 0, 0
    predicted, confidence = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.float32)
    log_probability = np.zeros(count, dtype=np.float32)
    step = max(1, math.ceil(count / sample)) if sample else count + 1
    indices = np.arange(0, count if sample else 0, step)
    kept = [np.zeros((0, classes), dtype=np.float32)]
    for part in parts:
        end = start + len(part)
        best = part.argmax(1)[:, None]
        highest = np.take_along_axis(part, best, axis=1)[:, 0]
        broken += int(np.isnan(highest).sum())
        predicted[start:end], confidence[start:end] = best[:, 0], np.exp(highest)
        log_probability[start:end] = np.take_along_axis(part, labels[start:end, None], axis=1)[:, 0]
        inside = indices[(indices >= start) & (indices < end)]
        kept.append(part[inside - start])
        start = end
    assert start == count, "as many rows of log-probabilities as labels"
    if broken:
        raise UserError(
            f"the network's outputs are not numbers (NaN) for {broken:,} of {count:,} images: it cannot be evaluated. "
            "Train it again, with a smaller learning rate or another seed."
        )
    return Predictions(labels, predicted, confidence, log_probability, np.concatenate(kept), indices)


@dataclass(frozen=True)
class ClassMetrics:
    """One class: images of it, and fractions from 0 to 1; None where there are no images to compute them from.

    `recall` and `f1` are None for a class without images, `precision` for a class that was never predicted.
    """

    name: str
    images: int
    recall: float | None
    precision: float | None
    f1: float | None


@dataclass(frozen=True)
class Metrics:
    """Metrics of one model on one named split; fractions from 0 to 1.

    `cells` are the non-zero cells of the confusion matrix, as (class, predicted class, images), by class indices in the
    order of `per_class`. `calibration_error` is the expected one over 15 bins of equal width (Naeini et al. 2015, Guo
    et al. 2017). For the loss, a probability of zero counts as the smallest positive float32.
    """

    split: str
    images: int
    accuracy: float
    interval: tuple[float, float]  # 95 %, Wilson 1927
    loss: float
    calibration_error: float
    per_class: tuple[ClassMetrics, ...]
    cells: tuple[tuple[int, int, int], ...]

    @property
    def confusion(self) -> NDArray[np.int64]:
        """The whole confusion matrix (C, C): at [i, j] the images of class i that were predicted as class j."""
        matrix = np.zeros((len(self.per_class), len(self.per_class)), dtype=np.int64)
        for label, predicted, images in self.cells:
            matrix[label, predicted] = images
        return matrix

    def as_dict(self) -> dict[str, Any]:
        """The metrics as plain values for JSON; classes by name, `confusion` as its non-zero cells."""
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
            "confusion": [list(cell) for cell in self.cells],
        }


def measure(predictions: Predictions, *, classes: tuple[str, ...], split: str) -> Metrics:
    """Metrics of predictions. Raises `UserError` when there are no images."""
    labels, predicted, count = predictions.labels, predictions.predicted, len(predictions)
    if not count:
        raise UserError(f"the {split} split has no images to evaluate on.")
    right = predicted == labels
    pairs, images = np.unique(labels * len(classes) + predicted, return_counts=True)
    cells = zip((pairs // len(classes)).tolist(), (pairs % len(classes)).tolist(), images.tolist())
    return Metrics(
        split=split,
        images=count,
        accuracy=float(right.mean()),
        interval=wilson(int(right.sum()), count),
        loss=_loss(predictions.log_probability),
        calibration_error=calibration_error(predictions.confidence, right),
        per_class=_per_class(classes, labels, predicted),
        cells=tuple(cells),
    )


def _loss(log_probability: NDArray[np.float32]) -> float:
    return float(-np.where(np.isneginf(log_probability), _LEAST_LOG, log_probability).mean(dtype=np.float64))


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % score interval of a fraction (Wilson 1927)."""
    share, spread = successes / trials, _Z**2 / trials
    center = (share + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(share * (1 - share) / trials + spread / (4 * trials)) / (1 + spread)
    return max(0.0, center - half), min(1.0, center + half)


def calibration_error(confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """Mean distance of confidence (N,) and accuracy over bins of confidence, weighted by their images."""
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    gap = np.bincount(bins, weights=confidence.astype(np.float64) - right, minlength=_BINS)
    return float(np.abs(gap).sum() / len(right))


def _per_class(
    classes: tuple[str, ...], labels: NDArray[np.int64], predicted: NDArray[np.int64]
) -> tuple[ClassMetrics, ...]:
    counts = (
        np.bincount(which, minlength=len(classes)).tolist()
        for which in (labels[labels == predicted], labels, predicted)
    )
    return tuple(
        ClassMetrics(
            name,
            images,
            recall=right / images if images else None,
            precision=right / given if given else None,
            f1=2 * right / (images + given) if images else None,
        )
        for name, right, images, given in zip(classes, *counts)
    )
