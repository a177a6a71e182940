"""Model snapshots: from a tenth of the training on, a complete, usable model is on disk whatever happens."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from shoestring.config.model_files import SNAPSHOTS, snapshots
from shoestring.models.model import Model
from shoestring.runtime.files import publish

_FIRST, _LAST = 0.1, 0.95  # fractions of the training between which snapshots are saved
_INTERVAL, _MIN_INTERVAL = 0.05, 2.0  # fraction of the training between two, and seconds at least
_OVERHEAD = 0.02  # fraction of the time that making and writing them may take


class Snapshots:
    """`snapshot/<number>/` in a folder, of which the highest number counts; saves nothing if the folder is None.

    Each snapshot is written to a temporary folder and then renamed, and only then are older ones removed, so tensors
    and description always belong together. `seconds` is the length of the training, zero if it is not known.
    """

    def __init__(self, folder: Path | None, seconds: float) -> None:
        self.folder = None if folder is None else folder / SNAPSHOTS
        self._interval = max(_MIN_INTERVAL, _INTERVAL * seconds)
        self._next = 0.0

    def due(self, fraction: float) -> bool:
        """Whether the next snapshot is due."""
        return self.folder is not None and _FIRST <= fraction <= _LAST and time.monotonic() >= self._next

    def save(self, make: Callable[[], Model]) -> None:
        """Replace the last snapshot by the model that `make` returns."""
        if self.folder is None:
            return
        start = time.monotonic()
        model = make()
        older = snapshots(self.folder.parent)
        name = str(1 + int(older[-1].name)) if older else "1"
        temporary = self.folder / f".{name}"
        shutil.rmtree(temporary, ignore_errors=True)  # from a process that was killed
        self.folder.parent.mkdir(exist_ok=True)  # without its parents: the run's folder may have been removed
        self.folder.mkdir(exist_ok=True)
        model.save(temporary)
        publish(temporary, self.folder / name)
        for folder in older:
            shutil.rmtree(folder)
        end = time.monotonic()
        self._next = end + max(self._interval, (end - start) / _OVERHEAD)


def remove(folder: Path) -> None:
    """Remove all snapshots of the training in a folder."""
    shutil.rmtree(folder / SNAPSHOTS, ignore_errors=True)
