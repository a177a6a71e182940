"""Metrics as files: metrics.json, per_class.csv, confusion.csv and predictions.csv."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.data.images import Images
from shoestring.evaluate.metrics import Metrics
from shoestring.rundir import replacing, write_json


def write(folder: Path, metrics: Metrics, log_probabilities: NDArray[np.float32], images: Images) -> None:
    """Write all four files; `log_probabilities` (N, C) are those that the metrics were measured on."""
    names = np.array(images.classes)
    write_json(folder / "metrics.json", metrics.as_dict())
    _table(
        folder / "per_class.csv",
        ["class", "images", "recall", "precision", "f1"],
        ([c.name, c.images, c.recall, c.precision, c.f1] for c in metrics.per_class),
    )
    _table(
        folder / "confusion.csv",
        ["class", *names],
        ([name, *row] for name, row in zip(names, metrics.confusion)),
    )
    predicted = log_probabilities.argmax(1)
    confidence = np.exp(log_probabilities.max(1))
    _table(
        folder / "predictions.csv",
        ["id", "class", "predicted", "confidence"],
        (
            [name, names[true], names[guess], f"{sure:.4f}"]
            for name, true, guess, sure in zip(images.ids, images.targets, predicted, confidence)
        ),
    )


def _table(file: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with (
        replacing(file) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as out,
    ):
        writer = csv.writer(out)
        writer.writerow(header)
        writer.writerows(rows)
