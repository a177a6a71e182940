"""The predictions of a cross-validation: each image is predicted by the network that was not trained on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from shoestring.errors import UserError
from shoestring.escaping import write_csv
from shoestring.evaluation.files import metrics_json
from shoestring.evaluation.metrics import Predictions, compute_metrics
from shoestring.experiments.schedule import Schedule
from shoestring.runs.directory import RunDir
from shoestring.runs.finished import read_result
from shoestring.runs.predictions_file import TestPredictions, read_predictions
from shoestring.runtime.files import atomic_write, write_text

FILE = "out_of_fold.csv"


def write_out_of_fold(folder: Path, schedule: Schedule) -> dict[str, Any]:
    """Write out_of_fold.csv and metrics.json; return the metrics of all out-of-fold predictions as plain values.

    The loss is that of all images as well, computed from those of the folds.
    """
    parts: list[tuple[int, TestPredictions]] = []
    losses: list[tuple[float, int]] = []
    classes: tuple[str, ...] = ()
    for trial in schedule.trials_of(0):
        run = folder / "trials" / trial.name
        result = read_result(RunDir(run))
        classes = tuple(result["per_class"])
        predictions = read_predictions(run, classes)
        if predictions is None or trial.fold is None:
            raise UserError(f"the predictions of {run} are missing: remove that folder, and repeat the command.")
        parts.append((trial.fold.number, predictions))
        losses.append((result["loss"], len(predictions)))
    labels, predicted, confidence = (
        np.concatenate([getattr(part, name) for _, part in parts]) for name in ("labels", "predicted", "confidence")
    )
    header = ["id", "fold", "class", "predicted", "confidence"]
    with atomic_write(folder / FILE) as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
        write_csv(out, header, (row for fold, part in parts for row in _rows(fold, part, classes)))
    collected = Predictions(
        labels,
        predicted,
        confidence.astype(np.float32),
        np.zeros(len(labels), np.float32),
        np.zeros((0, len(classes)), np.float32),
        np.zeros(0, np.int64),
    )
    loss = sum(value * count for value, count in losses) / len(labels)
    metrics = replace(compute_metrics(collected, classes=classes, split="out-of-fold"), loss=loss).as_dict()
    write_text(folder / "metrics.json", metrics_json(metrics) + "\n")
    return {name: value for name, value in metrics.items() if name != "confusion"}


def _rows(fold: int, part: TestPredictions, classes: tuple[str, ...]) -> list[list[Any]]:
    return [
        [name, fold, classes[label], classes[guess], f"{confidence:.4f}"]
        for name, label, guess, confidence in zip(
            part.names, part.labels.tolist(), part.predicted.tolist(), part.confidence.tolist()
        )
    ]
