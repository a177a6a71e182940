"""Read the predictions of a run from evaluate/predictions.csv."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.errors import UserError
from shoestring.escaping import csv_cell
from shoestring.reporting.multi_label import is_multi_label

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


@dataclass(frozen=True)
class LabelTestPredictions:
    """Predictions of several labels for the test images: labels and predictions, 0 or 1, and probabilities (N, L)."""

    names: tuple[str, ...]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether all labels of an image are predicted correctly (N,)."""
        return (self.labels == self.predicted).all(1)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Probabilities of what was predicted (N, L)."""
        return np.where(self.predicted > 0, self.probabilities, 1 - self.probabilities)


AnyTestPredictions = TestPredictions | LabelTestPredictions


def read_any_predictions(folder: Path, result: Mapping[str, Any]) -> AnyTestPredictions | None:
    """Read the predictions of the run with these results, of either task; see `read_predictions`."""
    read = read_label_predictions if is_multi_label(result) else read_predictions
    return read(folder, tuple(result["per_class"]))


def read_label_predictions(folder: Path, labels: Sequence[str]) -> LabelTestPredictions | None:
    """Read predictions of several labels; None without any. Raises `UserError` for a corrupted file."""
    file = folder / PREDICTIONS
    if not file.exists():
        return None
    with _reading(file), file.open(newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream)
        if header[1::3] != [str(csv_cell(name)) for name in labels]:
            raise ValueError("other labels")
        cells = np.array([row[1:] for row in rows], dtype=np.float64).reshape(len(rows), len(labels), 3)
        names = tuple(row[0] for row in rows)
    true, predicted = cells[:, :, 0].astype(np.int64), cells[:, :, 1].astype(np.int64)
    return LabelTestPredictions(names, true, predicted, cells[:, :, 2])


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{file} is corrupted or belongs to another run ({error!r}).") from None


def read_predictions(folder: Path, classes: Sequence[str]) -> TestPredictions | None:
    """Read the predictions of the run in a folder; None without any. Raises `UserError` for a corrupted file."""
    file = folder / PREDICTIONS
    if not file.exists():
        return None
    index = {str(csv_cell(name)): number for number, name in enumerate(classes)}
    with _reading(file), file.open(newline="", encoding="utf-8") as stream:
        rows = [
            (row["id"], index[row["class"]], index[row["predicted"]], float(row["confidence"]))
            for row in csv.DictReader(stream)
        ]
    names, labels, predicted, confidence = zip(*rows) if rows else ((), (), (), ())
    return TestPredictions(
        tuple(names),
        np.array(labels, dtype=np.int64),
        np.array(predicted, dtype=np.int64),
        np.array(confidence, dtype=np.float64),
    )
