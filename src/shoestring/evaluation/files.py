"""Metrics as files: metrics.json, per_class.csv, confusion.csv and predictions.csv."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from shoestring.data.images import Images
from shoestring.escaping import write_csv
from shoestring.evaluation.metrics import Metrics, Predictions
from shoestring.runtime.files import atomic_write, write_text

_MOST_COLUMNS = 100  # classes up to which confusion.csv is a matrix: a table that people and spreadsheets can read


def write(folder: Path, metrics: Metrics, predictions: Predictions, images: Images) -> None:
    """Write all four files; `predictions` are those that the metrics were measured on, of these images.

    `confusion.csv` is a matrix, or with more than 100 classes the list of its non-zero cells.
    """
    names = images.classes
    write_text(folder / "metrics.json", as_text(metrics.as_dict()) + "\n")
    _table(
        folder / "per_class.csv",
        ["class", "images", "recall", "precision", "f1"],
        ([c.name, c.images, c.recall, c.precision, c.f1] for c in metrics.per_class),
    )
    if len(names) <= _MOST_COLUMNS:
        rows = ([name, *row] for name, row in zip(names, metrics.confusion.tolist()))
        _table(folder / "confusion.csv", ["class", *names], rows)
    else:
        rows = ([names[label], names[predicted], count] for label, predicted, count in metrics.cells)
        _table(folder / "confusion.csv", ["class", "predicted", "images"], rows)
    columns = (predictions.labels.tolist(), predictions.predicted.tolist(), predictions.confidence.tolist())
    _table(
        folder / "predictions.csv",
        ["id", "class", "predicted", "confidence"],
        (
            [name, names[label], names[predicted], f"{confidence:.4f}"]
            for name, label, predicted, confidence in zip(images.ids, *columns)
        ),
    )


def as_text(metrics: dict[str, Any]) -> str:
    """Metrics as indented JSON, the cells of the confusion matrix on one line: there can be hundreds of thousands.

    Raises `ValueError` for numbers that JSON does not have.
    """
    cells = json.dumps(metrics["confusion"], separators=(",", ":"))
    text = json.dumps({**metrics, "confusion": None}, indent=1, ensure_ascii=False, allow_nan=False)
    return text.replace('"confusion": null', f'"confusion": {cells}')  # inside of names, quotes are escaped


def _table(file: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with atomic_write(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
        write_csv(out, header, rows)
