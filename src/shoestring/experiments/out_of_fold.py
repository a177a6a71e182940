"""The predictions of a cross-validation: each image is predicted by the network that was not trained on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from shoestring.errors import UserError
from shoestring.escaping import write_csv
from shoestring.evaluation.files import metrics_json
from shoestring.evaluation.metrics import Predictions
from shoestring.evaluation.multi_label import LabelPredictions
from shoestring.evaluation.tasks import AnyPredictions, measure
from shoestring.experiments.schedule import Schedule
from shoestring.runs.directory import RunDir
from shoestring.runs.finished import read_result
from shoestring.runs.predictions_file import AnyTestPredictions, LabelTestPredictions, read_any_predictions
from shoestring.runtime.files import atomic_write, write_text

FILE = "out_of_fold.csv"
_LEAST = 5e-5  # probability that the files of predictions round to 0

Folds = Sequence[tuple[int, AnyTestPredictions]]


def write_out_of_fold(folder: Path, schedule: Schedule) -> dict[str, Any]:
    """Write out_of_fold.csv and metrics.json; return the metrics of all out-of-fold predictions as plain values.

    The loss is that of all images as well, computed from those of the folds.
    """
    parts: list[tuple[int, AnyTestPredictions]] = []
    losses: list[tuple[float, int]] = []
    classes: tuple[str, ...] = ()
    for trial in schedule.trials_of(0):
        run = folder / "trials" / trial.name
        result = read_result(RunDir(run))
        classes = tuple(result["per_class"])
        predictions = read_any_predictions(run, result)
        if predictions is None or trial.fold is None:
            raise UserError(f"the predictions of {run} are missing: remove that folder, and repeat the command.")
        parts.append((trial.fold.number, predictions))
        losses.append((result["loss"], len(predictions)))
    several = isinstance(parts[0][1], LabelTestPredictions)
    header = [cell for name in classes for cell in (name, f"{name} predicted", f"{name} probability")]
    with atomic_write(folder / FILE) as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
        columns = header if several else ["class", "predicted", "confidence"]
        write_csv(out, ["id", "fold", *columns], _rows(parts, classes))
    metrics = measure(_collected(parts, len(classes)), classes=classes, split="out-of-fold")
    loss = sum(value * count for value, count in losses) / sum(count for _, count in losses)
    values = replace(metrics, loss=loss).as_dict()
    write_text(folder / "metrics.json", metrics_json(values) + "\n")
    return {name: value for name, value in values.items() if name != "confusion"}


def _collected(parts: Folds, classes: int) -> AnyPredictions:
    """Return the predictions of all folds, as they were read from files: without the probabilities of other classes."""
    labels, predicted = (np.concatenate([getattr(part, name) for _, part in parts]) for name in ("labels", "predicted"))
    if isinstance(parts[0][1], LabelTestPredictions):
        found = np.concatenate([part.probabilities for _, part in parts if isinstance(part, LabelTestPredictions)])
        least = np.where(predicted > 0, 0.5, _LEAST)  # a probability that was rounded to 0.5 stays on its side
        most = np.where(predicted > 0, 1 - _LEAST, 0.5 - _LEAST)
        clipped = np.clip(found, least, most)
        return LabelPredictions(labels, np.log(clipped / (1 - clipped)).astype(np.float32))
    confidence = np.concatenate([part.confidence for _, part in parts]).astype(np.float32)
    unknown = np.zeros(len(labels), np.float32)
    return Predictions(
        labels, predicted, confidence, unknown, np.zeros((0, classes), np.float32), np.zeros(0, np.int64)
    )


def _rows(parts: Folds, classes: tuple[str, ...]) -> Iterator[list[Any]]:
    for fold, part in parts:
        if isinstance(part, LabelTestPredictions):
            for name, *row in zip(part.names, part.labels, part.predicted, part.probabilities):
                cells = (cell for label, guess, p in zip(*row) for cell in (label, guess, f"{p:.4f}"))
                yield [name, fold, *cells]
        else:
            for name, label, guess, p in zip(part.names, part.labels, part.predicted, part.confidence):
                yield [name, fold, classes[label], classes[guess], f"{p:.4f}"]
