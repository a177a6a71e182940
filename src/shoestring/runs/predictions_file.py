"""Read the predictions of a run from evaluate/predictions.csv."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoestring.errors import UserError
from shoestring.escaping import csv_cell

PREDICTIONS = Path("evaluate") / "predictions.csv"


@dataclass(frozen=True)
class TestPredictions:
    """Predictions for the test images, in their order, each (N,): names as in the file, class indices, confidence."""

    names: tuple[str, ...]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]

    __test__ = False  # not a test, for pytest

    def __len__(self) -> int:
        return len(self.names)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each prediction is right (N,)."""
        return self.labels == self.predicted


def read_predictions(folder: Path, classes: Sequence[str]) -> TestPredictions | None:
    """Read the predictions of the run in a folder; None without any. Raises `UserError` for a corrupted file."""
    file = folder / PREDICTIONS
    if not file.exists():
        return None
    index = {str(csv_cell(name)): number for number, name in enumerate(classes)}
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            rows = [
                (row["id"], index[row["class"]], index[row["predicted"]], float(row["confidence"]))
                for row in csv.DictReader(stream)
            ]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{file} is corrupted or of another run ({error!r}).") from None
    names, labels, predicted, confidence = zip(*rows) if rows else ((), (), (), ())
    return TestPredictions(
        tuple(names),
        np.array(labels, dtype=np.int64),
        np.array(predicted, dtype=np.int64),
        np.array(confidence, dtype=np.float64),
    )
