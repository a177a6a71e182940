"""Checkpoints of a training on disk: always complete, and written in at most one percent of the time.

`state.pt` starts with a line with the format version and a checksum (BLAKE2b) of the output of `torch.save` that
follows: `torch.load` alone would not notice flipped bits in a tensor.
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

_OVERHEAD = 0.01  # fraction of the time that saving may take
_FORMAT = 6  # changes when the content is no longer readable by other versions
_MAGIC = b"shoestring state "
_KEYS = {  # required content and types
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
    """A saved training."""

    content: dict[str, Any]

    @property
    def network(self) -> tuple[str, dict[str, Any]]:
        """Name and options of the network."""
        return self.content["network"]

    @property
    def plan(self) -> TrainPlan:
        """The training plan."""
        return train_plan(self.content["plan"])

    @property
    def images_seen(self) -> int:
        """Number of images seen so far, repetitions included."""
        return self.content["counts"][1]

    @property
    def ended(self) -> bool:
        """Whether the training had spent its budget."""
        return self.content["ended"]

    def can_extend(self, total: float) -> bool:
        """Whether the training had ended and `total` is a larger budget."""
        return self.ended and total > self.content["total"]

    def start(self, total: float) -> Start:
        """How this training continues with this total budget."""
        return Extended(self) if self.can_extend(total) else Resumed(self)


@dataclass(frozen=True)
class Fresh:
    """A training that starts from the beginning."""


@dataclass(frozen=True)
class Resumed:
    """An interrupted training, which continues with its plan and its part of the budget."""

    saved: Saved


@dataclass(frozen=True)
class Extended:
    """A finished training with the schedule "anytime", which continues with a larger budget."""

    saved: Saved


Start = Fresh | Resumed | Extended


class Checkpoint:
    """`state.pt` in a folder; nothing is saved if the folder is None."""

    def __init__(self, folder: Path | None) -> None:
        self.folder, self.file = folder, folder / "state.pt" if folder else None
        self._due = time.monotonic() + 1.0
        self.seconds = 0.0  # that the last checkpoint took to write

    def start(self, total: float) -> Start:
        """How a training with this total budget starts: from scratch, resumed or extended."""
        saved = self.load()
        return Fresh() if saved is None else saved.start(total)

    def load(self) -> Saved | None:
        """The last checkpoint, if there is one. Loads tensors and plain values only, so no code in the file can run.

        Raises UserError if the file is corrupted or was written by another version.
        """
        if self.file is None or not self.file.exists():
            return None
        with self.file.open("rb") as content:
            header, packed = content.readline(100).rstrip(b"\n"), content.read()
        if not header.startswith(_MAGIC + f"{_FORMAT} ".encode()):
            raise self._unusable("is corrupted or was written by another version of shoestring")
        if header != _header(packed):
            raise self._unusable("is corrupted: the checksum does not match")
        try:
            saved = torch.load(io.BytesIO(packed), map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
            raise self._unusable(f"is not the state of a training ({type(error).__name__})") from None
        if not _is_state(saved):
            raise self._unusable("is not the state of a training")
        return Saved(saved)

    def _unusable(self, reason: str) -> UserError:
        return UserError(f"{self.file} {reason}. Remove it to start the step from scratch.")

    @contextlib.contextmanager
    def restoring(self) -> Iterator[None]:
        """Raise `UserError` where the checkpoint does not belong to this training."""
        try:
            yield
        except (KeyError, IndexError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            if isinstance(error, UserError):
                raise
            raise self._unusable(f"does not fit this training ({type(error).__name__})") from error

    def remove(self) -> None:
        """Delete the checkpoint, if there is one."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)

    def due(self) -> bool:
        """Whether the next checkpoint is due."""
        return self.file is not None and time.monotonic() >= self._due

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint on disk."""
        if self.folder is None or self.file is None:
            return
        start = time.monotonic()
        packed = io.BytesIO()  # written by Python, because torch raises its own errors for a full disk
        torch.save(state, packed)
        self.folder.mkdir(exist_ok=True)  # without its parents: the run's folder may have been removed
        with atomic_write(self.file) as temporary, temporary.open("wb") as out:
            out.write(_header(packed.getbuffer()) + b"\n")
            out.write(packed.getbuffer())
        self.seconds = time.monotonic() - start
        self._due = time.monotonic() + max(1.0, self.seconds / _OVERHEAD)


def _header(packed: bytes | memoryview) -> bytes:
    return _MAGIC + f"{_FORMAT} {hashlib.blake2b(packed, digest_size=16).hexdigest()}".encode()


def _is_state(content: Any) -> bool:
    """Whether the content has the parts that are read before the training itself is restored."""
    if not isinstance(content, dict) or not all(isinstance(content.get(key), kind) for key, kind in _KEYS.items()):
        return False
    return list(map(type, content["network"])) == [str, dict] and isinstance(content["batches"].get("size"), int)
