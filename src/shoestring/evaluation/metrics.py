"""Accuracy with confidence interval, per-class metrics, confusion matrix, loss and calibration error of predictions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.config.units import format_percent
from shoestring.errors import UserError
from shoestring.escaping import html, html_table
from shoestring.evaluation.plots import ClassPlots

# Not computed with sklearn.metrics and scipy.stats, with which tests compare the results: importing these takes two CPU
# seconds of a run's time budget, and per-class metrics of 200,000 images would take 0.26 s instead of 0.01 s.
_Z = 1.959964  # two-sided 95 % quantile of the normal distribution
_BINS = 15
_MAX_ROWS = 30  # classes of a table in a notebook
_FEW = 10  # classes, among which five are not much of an achievement
_FIGURES = ("accuracy", "interval", "balanced_accuracy", "macro_f1", "top5_accuracy", "loss", "calibration_error")
_MIN_LOG_PROBABILITY = math.log(2.0**-149)  # of the smallest positive float32; replaces minus infinity


@dataclass(frozen=True)
class Predictions:
    """Summary of log-probabilities (N, C) that takes O(N) memory.

    `predicted` are class indices, `confidence` the probabilities of these classes, `log_probability` that of the label,
    each (N,). `sample` holds the complete rows (K, C) at the evenly spaced `sample_indices` (K,). `in_top5` (N,) is
    whether the label is among the five most probable classes; None if that is not known.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float32]
    log_probability: NDArray[np.float32]
    sample: NDArray[np.float32]
    sample_indices: NDArray[np.int64]
    in_top5: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def accuracy(self) -> float | None:
        """Fraction of images whose predicted class is the label; None without images."""
        return float((self.predicted == self.labels).mean()) if len(self) else None

    @property
    def loss(self) -> float | None:
        """Mean cross-entropy; None without images."""
        if not len(self):
            return None
        finite = np.where(np.isneginf(self.log_probability), _MIN_LOG_PROBABILITY, self.log_probability)
        return float(-finite.mean(dtype=np.float64))

    @property
    def score(self) -> float | None:
        """What early stopping compares: the accuracy."""
        return self.accuracy


def collect_predictions(
    batches: Iterable[NDArray[np.float32]], labels: NDArray[np.int64], *, classes: int, sample: int = 0
) -> Predictions:
    """Collect predictions from batches of log-probabilities (n, C), in the order of the labels (N,).

    At most `sample` complete rows are kept. Raises `UserError` if outputs are NaN.
    """
    count, start, nan_count = len(labels), 0, 0
    predicted, confidence = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.float32)
    log_probability, in_top5 = np.zeros(count, dtype=np.float32), np.zeros(count, dtype=np.bool_)
    step = max(1, math.ceil(count / sample)) if sample else count + 1
    indices = np.arange(0, count if sample else 0, step)
    rows = [np.zeros((0, classes), dtype=np.float32)]
    for batch in batches:
        end = start + len(batch)
        best = batch.argmax(1)[:, None]
        highest = np.take_along_axis(batch, best, axis=1)[:, 0]
        nan_count += int(np.isnan(highest).sum())
        predicted[start:end], confidence[start:end] = best[:, 0], np.exp(highest)
        of_label = np.take_along_axis(batch, labels[start:end, None], axis=1)
        log_probability[start:end], in_top5[start:end] = of_label[:, 0], (batch > of_label).sum(1) < 5
        inside = indices[(indices >= start) & (indices < end)]
        rows.append(batch[inside - start])
        start = end
    assert start == count, "as many rows of log-probabilities as labels"
    if nan_count:
        raise nan_outputs(nan_count, count)
    return Predictions(labels, predicted, confidence, log_probability, np.concatenate(rows), indices, in_top5)


def nan_outputs(nan_count: int, count: int) -> UserError:
    """Return the error for outputs that are NaN for so many of the images."""
    return UserError(
        f"the network's outputs are not numbers (NaN) for {nan_count:,} of {count:,} images: it cannot be evaluated. "
        "Train it again, with a smaller learning rate or another seed."
    )


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of one class, from 0 to 1.

    `recall` and `f1` are None for a class without images, `precision` for a class that was never predicted.
    """

    name: str
    images: int
    recall: float | None
    precision: float | None
    f1: float | None


@dataclass(frozen=True)
class Metrics(ClassPlots):
    """Metrics of one model on one named split; accuracies are from 0 to 1.

    `cells` are the nonzero cells of the confusion matrix as (class, predicted class, images), with class indices in the
    order of `per_class`. `calibration_error` is the expected calibration error over 15 bins of equal width (Naeini et
    al. 2015, Guo et al. 2017). In the loss, a probability of zero counts as the smallest positive float32.
    """

    split: str
    images: int
    accuracy: float
    interval: tuple[float, float]  # 95 %, Wilson 1927
    balanced_accuracy: float  # mean recall of the classes that have images
    macro_f1: float  # mean F1 of the classes that have images or were predicted
    top5_accuracy: float | None  # only of more than ten classes
    loss: float
    calibration_error: float
    per_class: tuple[ClassMetrics, ...]
    cells: tuple[tuple[int, int, int], ...]

    def __repr__(self) -> str:
        low, high = map(format_percent, self.interval)
        accuracy = f"accuracy {format_percent(self.accuracy)} ({low} to {high})"
        return f"Metrics({accuracy} on {self.images:,} {self.split} images)"

    def _repr_html_(self) -> str:
        rows = [
            (one.name, f"{one.images:,}", *map(format_percent, (one.recall, one.precision, one.f1)))
            for one in sorted(self.per_class, key=lambda one: 2.0 if one.recall is None else one.recall)[:_MAX_ROWS]
        ]
        total = len(self.per_class)
        shown = f", the {_MAX_ROWS} weakest of {total:,} classes" if total > len(rows) else ""
        return f"<p>{html(self)}{shown}</p>{html_table(('class', 'images', 'recall', 'precision', 'F1'), rows)}"

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Confusion matrix (C, C): [i, j] is the number of images of class i that were predicted as class j."""
        matrix = np.zeros((len(self.per_class), len(self.per_class)), dtype=np.int64)
        for label, predicted, images in self.cells:
            matrix[label, predicted] = images
        return matrix

    def as_dict(self) -> dict[str, Any]:
        """Return the metrics as plain values for JSON; classes by name, `confusion` as its nonzero cells."""
        return {
            "split": self.split,
            "images": self.images,
            **{name: getattr(self, name) for name in _FIGURES},
            "interval": list(self.interval),
            "per_class": {
                entry.name: {name: getattr(entry, name) for name in ("images", "recall", "precision", "f1")}
                for entry in self.per_class
            },
            "confusion": [list(cell) for cell in self.cells],
        }


def compute_metrics(predictions: Predictions, *, classes: tuple[str, ...], split: str) -> Metrics:
    """Compute metrics of predictions. Raises `UserError` if there are no images."""
    labels, predicted, count, loss = predictions.labels, predictions.predicted, len(predictions), predictions.loss
    if loss is None:
        raise UserError(f"the {split} split has no images to evaluate on.")
    correct = predicted == labels
    pairs, images = np.unique(labels * len(classes) + predicted, return_counts=True)
    per_class = _per_class(classes, labels, predicted)
    cells = zip((pairs // len(classes)).tolist(), (pairs % len(classes)).tolist(), images.tolist())
    return Metrics(
        split=split,
        images=count,
        accuracy=float(correct.mean()),
        interval=wilson_interval(int(correct.sum()), count),
        balanced_accuracy=_mean(entry.recall for entry in per_class if entry.images),
        macro_f1=_mean(entry.f1 for entry in per_class if entry.images or entry.precision is not None),
        top5_accuracy=None if len(classes) <= _FEW or (top := predictions.in_top5) is None else float(top.mean()),
        loss=loss,
        calibration_error=calibration_error(predictions.confidence, correct),
        per_class=per_class,
        cells=tuple(cells),
    )


def unmeasured(classes: tuple[str, ...], split: str) -> dict[str, Any]:
    """Return what `Metrics.as_dict` does for a split without images: no metric has a value."""
    per_class = {"images": 0, "recall": None, "precision": None, "f1": None}
    return {
        "split": split,
        "images": 0,
        **dict.fromkeys(_FIGURES),
        "per_class": {name: dict(per_class) for name in classes},
        "confusion": [],
    }


def _mean(values: Iterable[float | None]) -> float:
    """The mean of values, of which undefined ones (None) count as 0."""
    known = [value or 0.0 for value in values]
    return sum(known) / len(known)


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion (Wilson 1927)."""
    proportion, spread = successes / trials, _Z**2 / trials
    center = (proportion + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(proportion * (1 - proportion) / trials + spread / (4 * trials)) / (1 + spread)
    return max(0.0, center - half), min(1.0, center + half)


def calibration_error(confidence: NDArray[np.float32], correct: NDArray[np.bool_]) -> float:
    """Return the mean gap between confidence (N,) and accuracy over bins of confidence, weighted by their images."""
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    gap = np.bincount(bins, weights=confidence.astype(np.float64) - correct, minlength=_BINS)
    return float(np.abs(gap).sum() / len(correct))


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
            recall=correct / images if images else None,
            precision=correct / positive if positive else None,
            f1=2 * correct / (images + positive) if images else None,
        )
        for name, correct, images, positive in zip(classes, *counts)
    )
