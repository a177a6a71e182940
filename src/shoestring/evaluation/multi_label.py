"""Metrics of predictions of several labels per image: of each label, their averages, and of whole predictions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.config.units import format_percent
from shoestring.errors import UserError
from shoestring.escaping import html, html_table
from shoestring.evaluation.metrics import calibration_error, nan_outputs, wilson_interval
from shoestring.evaluation.plots import RecallPlots


@dataclass(frozen=True)
class LabelPredictions:
    """Predictions of labels: labels, 0 or 1 (N, L), and their log-odds, float32 (N, L)."""

    labels: NDArray[np.int64]
    log_odds: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """1 for each label of at least 50 % (N, L), otherwise 0."""
        return (self.log_odds >= 0).astype(np.int64)

    @property
    def accuracy(self) -> float | None:
        """Fraction of images whose labels are all predicted correctly; None without images."""
        return float(_exact(self).mean()) if len(self) else None

    @property
    def loss(self) -> float | None:
        """Mean binary cross-entropy; None without images."""
        if not len(self):
            return None
        log_odds = self.log_odds.astype(np.float64)
        return float(np.logaddexp(0, np.where(self.labels > 0, -log_odds, log_odds)).mean())

    @property
    def score(self) -> float | None:
        """What early stopping compares: the mean average precision of labels that occur; None if none does."""
        return _mean(_average_precisions(self))


def collect_label_predictions(batches: Iterable[NDArray[np.float32]], labels: NDArray[np.int64]) -> LabelPredictions:
    """Collect predictions from batches of log-odds (n, L), in the order of the labels (N, L).

    Raises `UserError` if outputs are NaN.
    """
    log_odds = np.concatenate([np.zeros((0, labels.shape[1]), dtype=np.float32), *batches])
    assert len(log_odds) == len(labels), "as many rows of log-odds as labels"
    if count := int(np.isnan(log_odds).any(1).sum()):
        raise nan_outputs(count, len(labels))
    return LabelPredictions(labels, log_odds)


@dataclass(frozen=True)
class LabelMetrics:
    """Metrics of one label, from 0 to 1.

    `average_precision`, `recall` and `f1` are None for a label that no image has, `precision` for one that is never
    predicted.
    """

    name: str
    images: int  # that have the label
    average_precision: float | None
    recall: float | None
    precision: float | None
    f1: float | None


@dataclass(frozen=True)
class MultiLabelMetrics(RecallPlots):
    """Metrics of one model on one named split; a label is predicted if its probability is at least 50 %.

    `accuracy` is the fraction of images whose labels are all predicted correctly, with its 95 % interval (Wilson 1927).
    Averages are over the labels that images have, for `macro_f1` also over those that were only predicted, whose F1 is
    0. `loss` is the mean binary cross-entropy, and `calibration_error` that of all predictions of a label together, as
    for classes.
    """

    split: str
    images: int
    accuracy: float
    interval: tuple[float, float]
    macro_average_precision: float | None
    macro_f1: float | None
    micro_f1: float | None
    loss: float
    calibration_error: float
    per_class: tuple[LabelMetrics, ...]

    _of_labels = True

    def __repr__(self) -> str:
        precision = format_percent(self.macro_average_precision)
        exact = f"all labels right {format_percent(self.accuracy)}"
        return f"MultiLabelMetrics(mean average precision {precision}, {exact} on {self.images:,} {self.split} images)"

    def _repr_html_(self) -> str:
        columns = ("images", "average_precision", "recall", "precision", "f1")
        header = ("label", "images", "average precision", "recall", "precision", "F1")
        rows = [
            (one.name, f"{one.images:,}", *(format_percent(getattr(one, name)) for name in columns[1:]))
            for one in self.per_class
        ]
        return f"<p>{html(self)}</p>{html_table(header, rows)}"

    def as_dict(self) -> dict[str, Any]:
        """Return the metrics as plain values for JSON, labels by name."""
        names = ("accuracy", "macro_average_precision", "macro_f1", "micro_f1", "loss", "calibration_error")
        return {
            "task": "multi-label",
            "split": self.split,
            "images": self.images,
            "interval": list(self.interval),
            **{name: getattr(self, name) for name in names},
            "per_class": {
                entry.name: {name: value for name, value in vars(entry).items() if name != "name"}
                for entry in self.per_class
            },
        }


def compute_label_metrics(predictions: LabelPredictions, *, classes: tuple[str, ...], split: str) -> MultiLabelMetrics:
    """Compute metrics of predictions. Raises `UserError` if there are no images."""
    labels, predicted, log_odds = predictions.labels, predictions.predicted, predictions.log_odds.astype(np.float64)
    loss = predictions.loss
    if loss is None:
        raise UserError(f"the {split} split has no images to evaluate on.")
    exact = _exact(predictions)
    per_class = _per_label(predictions, classes)
    correct = int((labels & predicted).sum())
    confidence = 1 / (1 + np.exp(-np.abs(log_odds)))
    return MultiLabelMetrics(
        split=split,
        images=len(labels),
        accuracy=float(exact.mean()),
        interval=wilson_interval(int(exact.sum()), len(labels)),
        macro_average_precision=predictions.score,
        macro_f1=_mean([entry.f1 or 0.0 for entry in per_class if entry.images or entry.precision is not None]),
        micro_f1=_divide(2 * correct, int(labels.sum() + predicted.sum())),
        loss=loss,
        calibration_error=calibration_error(confidence.ravel().astype(np.float32), (labels == predicted).ravel()),
        per_class=per_class,
    )


def no_label_metrics(classes: tuple[str, ...], split: str) -> dict[str, Any]:
    """Return what `MultiLabelMetrics.as_dict` does for a split without images: no metric has a value."""
    names = ("accuracy", "interval", "macro_average_precision", "macro_f1", "micro_f1", "loss", "calibration_error")
    per_class = {"images": 0, **dict.fromkeys(("average_precision", "recall", "precision", "f1"))}
    return {
        "task": "multi-label",
        "split": split,
        "images": 0,
        **dict.fromkeys(names),
        "per_class": {name: dict(per_class) for name in classes},
    }


def average_precision(labels: NDArray[np.int64], scores: NDArray[np.float32]) -> float | None:
    """Return the average precision of scores (N,) for labels, 0 or 1 (N,); None if no label is 1.

    It is the mean precision at the recalls that images with the label are found at, images of equal scores together.
    """
    if not labels.any():
        return None
    order = np.argsort(-scores, kind="stable")
    found, last = np.cumsum(labels[order]), np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    precision, recalled = found[last] / (last + 1), np.diff(found[last], prepend=0)
    return float((precision * recalled).sum() / found[-1])


def _average_precisions(predictions: LabelPredictions) -> list[float | None]:
    return [average_precision(*pair) for pair in zip(predictions.labels.T, predictions.log_odds.T)]


def _per_label(predictions: LabelPredictions, classes: tuple[str, ...]) -> tuple[LabelMetrics, ...]:
    labels, predicted = predictions.labels, predictions.predicted
    counts = (part.sum(0).tolist() for part in (labels & predicted, labels, predicted))
    return tuple(
        LabelMetrics(
            name,
            images,
            average_precision=precision,
            recall=_divide(correct, images),
            precision=_divide(correct, positive),
            f1=_divide(2 * correct, images + positive) if images else None,
        )
        for name, precision, correct, images, positive in zip(classes, _average_precisions(predictions), *counts)
    )


def _exact(predictions: LabelPredictions) -> NDArray[np.bool_]:
    return (predictions.predicted == predictions.labels).all(1)


def _divide(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are not None; None without any."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
