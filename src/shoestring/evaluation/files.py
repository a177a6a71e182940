"""Files of metrics: metrics.json, per_class.csv, confusion.csv and predictions.csv."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shoestring.data.images import Images
from shoestring.escaping import write_csv
from shoestring.evaluation.metrics import Metrics, Predictions
from shoestring.evaluation.multi_label import LabelPredictions, MultiLabelMetrics
from shoestring.evaluation.tasks import AnyMetrics, AnyPredictions
from shoestring.runtime.files import atomic_write, write_text
from shoestring.tasks import MULTI_LABEL

_MAX_COLUMNS = 100  # classes up to which confusion.csv is a matrix, which people and spreadsheets can still read


def write_metrics(folder: Path, metrics: AnyMetrics, predictions: AnyPredictions, images: Images) -> None:
    """Write all files; the metrics are those of these predictions for these images.

    `confusion.csv` is a matrix, or with more than 100 classes the list of its nonzero cells. With several labels per
    image there is none, and `predictions.csv` holds each label, its prediction and its probability.
    """
    write_text(folder / "metrics.json", metrics_json(metrics.as_dict()) + "\n")
    if isinstance(metrics, MultiLabelMetrics):
        assert isinstance(predictions, LabelPredictions)
        _write_labels(folder, metrics, predictions, images)
    else:
        assert isinstance(predictions, Predictions)
        _write_classes(folder, metrics, predictions, images)


def _write_labels(folder: Path, metrics: MultiLabelMetrics, predictions: LabelPredictions, images: Images) -> None:
    columns = ("images", "average_precision", "recall", "precision", "f1")
    rows = ([entry.name, *(getattr(entry, name) for name in columns)] for entry in metrics.per_class)
    _write_csv(folder / "per_class.csv", ["label", *columns], rows)
    probabilities = np.exp(MULTI_LABEL.log_probabilities(predictions.log_odds))
    header = [text for name in images.classes for text in (name, f"{name} predicted", f"{name} probability")]
    _write_csv(
        folder / "predictions.csv",
        ["id", *header],
        (
            [name, *(cell for label, guess, p in zip(*row) for cell in (label, guess, f"{p:.4f}"))]
            for name, *row in zip(images.ids, predictions.labels, predictions.predicted, probabilities)
        ),
    )


def _write_classes(folder: Path, metrics: Metrics, predictions: Predictions, images: Images) -> None:
    names = images.classes
    _write_csv(
        folder / "per_class.csv",
        ["class", "images", "recall", "precision", "f1"],
        ([c.name, c.images, c.recall, c.precision, c.f1] for c in metrics.per_class),
    )
    if len(names) <= _MAX_COLUMNS:
        rows = ([name, *row] for name, row in zip(names, metrics.confusion.tolist()))
        _write_csv(folder / "confusion.csv", ["class", *names], rows)
    else:
        rows = ([names[label], names[predicted], count] for label, predicted, count in metrics.cells)
        _write_csv(folder / "confusion.csv", ["class", "predicted", "images"], rows)
    columns = (predictions.labels.tolist(), predictions.predicted.tolist(), predictions.confidence.tolist())
    _write_csv(
        folder / "predictions.csv",
        ["id", "class", "predicted", "confidence"],
        (
            [name, names[label], names[predicted], f"{confidence:.4f}"]
            for name, label, predicted, confidence in zip(images.ids, *columns)
        ),
    )


def metrics_json(metrics: dict[str, Any]) -> str:
    """Return metrics as indented JSON, with the up to hundreds of thousands of confusion matrix cells on one line.

    Raises `ValueError` for numbers that JSON cannot represent.
    """
    if "confusion" not in metrics:
        return json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False)
    cells = json.dumps(metrics["confusion"], separators=(",", ":"))
    text = json.dumps({**metrics, "confusion": None}, indent=1, ensure_ascii=False, allow_nan=False)
    return text.replace('"confusion": null', f'"confusion": {cells}')  # unique: quotes in class names are escaped


def _write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with atomic_write(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
        write_csv(out, header, rows)
