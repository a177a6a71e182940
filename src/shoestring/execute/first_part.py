"""The result of the first part of a training, for the second one, which also uses predicted labels."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoestring.models.model import Model
from shoestring.runtime.files import atomic_write, write_json
from shoestring.training.progress import TrainingSummary

FOLDER = "labeled"  # in that of the training
_LABELS, _ABOUT = "labels.npz", "unlabeled.json"


@dataclass(frozen=True)
class UnlabeledUse:
    """How images without labels were used.

    Of `images`, `predicted` were predicted in the time, and the `used` ones with a probability of at least `confidence`
    got the predicted label. `accuracy` is how often it is the true one, None if these are not known. `before` and
    `after` are the validation accuracy of the network without and with them, both without test-time augmentation; None
    if it was not measured. They are `kept` unless it fell.
    """

    images: int
    predicted: int = 0
    used: int = 0
    confidence: float | None = None
    accuracy: float | None = None
    before: float | None = None
    after: float | None = None
    kept: bool = False


@dataclass(frozen=True)
class FirstPart:
    """The model after the first part of a training, and the predicted labels for the second part.

    `indices` (K,) are those of the images without labels that get the `labels` (K,).
    """

    model: Model
    summary: TrainingSummary
    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    use: UnlabeledUse

    def save(self, folder: Path | None) -> None:
        """Write this into a subfolder, for a run that is interrupted later; nothing without a folder."""
        if folder is None:
            return
        self.model.save(folder / FOLDER)
        with atomic_write(folder / FOLDER / _LABELS) as temporary, temporary.open("wb") as out:
            np.savez(out, indices=self.indices, labels=self.labels)
        write_json(folder / FOLDER / _ABOUT, {"summary": asdict(self.summary), "use": asdict(self.use)})

    @classmethod
    def load(cls, folder: Path | None) -> FirstPart | None:
        """Return what `save` wrote completely, or None."""
        if folder is None or not (folder / FOLDER / _ABOUT).exists():
            return None
        about = json.loads((folder / FOLDER / _ABOUT).read_text())
        with np.load(folder / FOLDER / _LABELS) as stored:
            indices, labels = stored["indices"], stored["labels"]
        use, summary = UnlabeledUse(**about["use"]), TrainingSummary(**about["summary"])
        return cls(Model.load(folder / FOLDER), summary, indices, labels, use)
