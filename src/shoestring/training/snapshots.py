"""A model that can be used at any time: from a tenth of the training on one is on disk, whole, whatever happens."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from shoestring.models.model import Model
from shoestring.runtime.files import publish

_FOLDER = "snapshot"
_FIRST, _LAST = 0.1, 0.95  # fractions of the training between which snapshots are taken
_EVERY, _LEAST = 0.05, 2.0  # share of the time between two, and seconds at least
_COST = 0.02  # share of the time that making and writing them may take


class Snapshots:
    """`snapshot/<number>/` in a folder, the highest number counts; nothing when the folder is None.

    Each is written aside and then takes its name, and only then the ones before go: tensors and description are always
    of one moment. `seconds` is how long the training is, zero where that is not known.
    """

    def __init__(self, folder: Path | None, seconds: float) -> None:
        self.folder = None if folder is None else folder / _FOLDER
        self._pause = max(_LEAST, _EVERY * seconds)
        self._next = 0.0

    def due(self, fraction: float) -> bool:
        """Whether it is time for the next one."""
        return self.folder is not None and _FIRST <= fraction <= _LAST and time.monotonic() >= self._next

    def save(self, make: Callable[[], Model]) -> None:
        """Put the model that `make` gives in the place of the last one."""
        if self.folder is None:
            return
        began = time.monotonic()
        model = make()
        before = _numbered(self.folder)
        name = str(1 + max((int(old.name) for old in before), default=0))
        unnamed = self.folder / f".{name}"
        shutil.rmtree(unnamed, ignore_errors=True)  # what a process that was killed had begun
        self.folder.parent.mkdir(exist_ok=True)  # but not the run's folder anew, which may have been removed
        self.folder.mkdir(exist_ok=True)
        model.save(unnamed)
        publish(unnamed, self.folder / name)
        for old in before:
            shutil.rmtree(old)
        ended = time.monotonic()
        self._next = ended + max(self._pause, (ended - began) / _COST)


def newest(folder: Path) -> Path | None:
    """The last snapshot of the training in a folder, if there is one."""
    return max(_numbered(folder / _FOLDER), key=lambda one: int(one.name), default=None)


def remove(folder: Path) -> None:
    """Remove all snapshots of the training in a folder."""
    shutil.rmtree(folder / _FOLDER, ignore_errors=True)


def _numbered(folder: Path) -> list[Path]:
    return [one for one in folder.iterdir() if one.name.isdigit()] if folder.is_dir() else []
