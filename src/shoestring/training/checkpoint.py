"""The state of an interrupted training on disk: complete or absent, and written at one percent of the time.

`state.pt` begins with a line that names the format and a checksum (BLAKE2b) of what follows, which is what `torch.save`
writes: `torch.load` alone would take flipped bits in a tensor for weights.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import pickle
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from shoestring.config.plan import TrainPlan, train_plan
from shoestring.errors import UserError
from shoestring.runtime.files import atomic_write

_SHARE = 0.01
_FORMAT = 6  # changes when another version could not read what is in the state
_FIRST_LINE = b"shoestring state "
_KEYS = {  # what a state holds, and of which type it is
    "network": tuple,
    "plan": dict,
    "sizes": dict,
    "module": dict,
    "batches": dict,
    "optimiser": (dict, list),
    "counts": tuple,
    "window": tuple,
    "counted": (int, float),
    "total": (int, float),
    "patience": dict,
    "ended": bool,
    "width": (int, float),
    "depth": (int, float),
}


@dataclass(frozen=True)
class Saved:
    """A training as it was saved."""

    content: dict[str, Any]

    @property
    def network(self) -> tuple[str, dict[str, Any]]:
        """Name and options of the network."""
        return self.content["network"]

    @property
    def plan(self) -> TrainPlan:
        """The plan that it follows."""
        return train_plan(self.content["plan"])

    @property
    def images_seen(self) -> int:
        """Images seen so far, each time counted."""
        return self.content["counts"][1]

    @property
    def ended(self) -> bool:
        """Whether its budget was spent."""
        return self.content["ended"]

    def longer_in(self, total: float) -> bool:
        """Whether it had ended and has more to spend now."""
        return self.ended and total > self.content["total"]


@dataclass(frozen=True)
class Fresh:
    """A training that starts from the beginning."""


@dataclass(frozen=True)
class Resumed:
    """A training that was interrupted, and continues with the plan and the part of the budget that it had."""

    saved: Saved


@dataclass(frozen=True)
class Extended:
    """A training of the schedule "anytime" that had ended, and continues with a larger budget."""

    saved: Saved


Start = Fresh | Resumed | Extended


class Checkpoint:
    """`state.pt` in a folder, or nowhere when the folder is None."""

    def __init__(self, folder: Path | None) -> None:
        self.folder, self.file = folder, folder / "state.pt" if folder else None
        self._due = time.monotonic() + 1.0
        self.took = 0.0  # seconds that the last one took to write

    def start(self, total: float) -> Start:
        """How a training with this total budget starts."""
        saved = self.load()
        if saved is None:
            return Fresh()
        return Extended(saved) if saved.longer_in(total) else Resumed(saved)

    def load(self) -> Saved | None:
        """The last state, if there is one; tensors and plain values only, so nothing in the file can run."""
        if self.file is None or not self.file.exists():
            return None
        with self.file.open("rb") as content:
            first, packed = content.readline(100).rstrip(b"\n"), content.read()
        if not first.startswith(_FIRST_LINE + f"{_FORMAT} ".encode()):
            raise self._unusable("was written by another version of shoestring, or is damaged")
        if first != _first_line(packed):
            raise self._unusable("is damaged: its checksum does not fit its content")
        try:
            saved = torch.load(io.BytesIO(packed), map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
            raise self._unusable(f"does not hold the state of a training ({type(error).__name__})") from None
        if not _is_state(saved):
            raise self._unusable("does not hold the state of a training")
        return Saved(saved)

    def _unusable(self, how: str) -> UserError:
        return UserError(f"{self.file} {how}. Remove it to start the step anew.")

    @contextlib.contextmanager
    def restoring(self) -> Iterator[None]:
        """Turn what goes wrong with a state that is of something else than this training into a `UserError`."""
        try:
            yield
        except (KeyError, IndexError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            if isinstance(error, UserError):
                raise
            raise self._unusable(f"does not fit this training ({type(error).__name__})") from error

    def remove(self) -> None:
        """Delete the state, if there is one."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)

    def due(self) -> bool:
        """Whether it is time to save again."""
        return self.file is not None and time.monotonic() >= self._due

    def save(self, state: dict[str, Any]) -> None:
        """Replace the state on disk."""
        if self.folder is None or self.file is None:
            return
        before = time.monotonic()
        packed = io.BytesIO()  # written by Python, because torch tells of a full disk in its own words
        torch.save(state, packed)
        self.folder.mkdir(exist_ok=True)  # but not the run's folder anew, which may have been removed
        with atomic_write(self.file) as temporary, temporary.open("wb") as out:
            out.write(_first_line(packed.getbuffer()) + b"\n")
            out.write(packed.getbuffer())
        self.took = time.monotonic() - before
        self._due = time.monotonic() + max(1.0, self.took / _SHARE)


def _first_line(packed: bytes | memoryview) -> bytes:
    return _FIRST_LINE + f"{_FORMAT} {hashlib.blake2b(packed, digest_size=16).hexdigest()}".encode()


def _is_state(saved: Any) -> bool:
    """Whether what was read has the parts that are looked at before the training itself takes it up."""
    if not isinstance(saved, dict) or not all(isinstance(saved.get(key), kind) for key, kind in _KEYS.items()):
        return False
    return list(map(type, saved["network"])) == [str, dict] and isinstance(saved["batches"].get("size"), int)
