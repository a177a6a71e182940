"""Evaluation of either task: one class for each image, or several labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.data.images import Images
from shoestring.evaluation.calibration import fit_temperature, images_to_fit
from shoestring.evaluation.metrics import Metrics, Predictions, collect_predictions, compute_metrics, unmeasured
from shoestring.evaluation.multi_label import (
    LabelPredictions,
    MultiLabelMetrics,
    collect_label_predictions,
    compute_label_metrics,
    no_label_metrics,
)
from shoestring.tasks import MULTI_LABEL, Task

AnyPredictions = Predictions | LabelPredictions
AnyMetrics = Metrics | MultiLabelMetrics


def collect(batches: Iterable[NDArray[np.float32]], images: Images, *, to_fit: bool = False) -> AnyPredictions:
    """Collect predictions from batches of scores (n, classes) of images that are labeled with these classes.

    With `to_fit` they hold what `temperature_of` needs. Raises `UserError` if outputs are NaN.
    """
    if images.task == MULTI_LABEL:
        return collect_label_predictions(batches, images.targets)
    classes = len(images.classes)
    sample = images_to_fit(classes) if to_fit else 0
    return collect_predictions(batches, images.targets, classes=classes, sample=sample)


def measure(predictions: AnyPredictions, *, classes: tuple[str, ...], split: str) -> AnyMetrics:
    """Compute metrics of predictions. Raises `UserError` if there are no images."""
    if isinstance(predictions, LabelPredictions):
        return compute_label_metrics(predictions, classes=classes, split=split)
    return compute_metrics(predictions, classes=classes, split=split)


def without_images(task: Task, classes: tuple[str, ...], split: str) -> dict[str, Any]:
    """Return what `as_dict` of the metrics does for a split without images: no metric has a value."""
    return no_label_metrics(classes, split) if task == MULTI_LABEL else unmeasured(classes, split)


def temperature_of(predictions: AnyPredictions) -> float:
    """Return the temperature that minimizes the loss: of labels, that of all choices between absent and present."""
    if not isinstance(predictions, LabelPredictions):
        return fit_temperature(predictions.sample, predictions.labels[predictions.sample_indices])
    step = -(-predictions.labels.size // images_to_fit(2)) or 1
    log_odds, labels = predictions.log_odds[::step].ravel(), predictions.labels[::step].ravel()
    return fit_temperature(np.stack([np.zeros_like(log_odds), log_odds], 1), labels)
