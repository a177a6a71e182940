"""The state of an interrupted training on disk: complete or absent, and written at one percent of the time."""

from __future__ import annotations

import io
import pickle
import time
from pathlib import Path
from typing import Any

import torch

from shoestring.errors import UserError
from shoestring.rundir import replacing

_SHARE = 0.01
_FORMAT = 4  # changes when another version could not read what is in the state


class Checkpoint:
    """`state.pt` in a folder, or nowhere when the folder is None."""

    def __init__(self, folder: Path | None) -> None:
        self.folder, self.file = folder, folder / "state.pt" if folder else None
        self._due = time.monotonic() + 1.0
        self.took = 0.0  # seconds that the last one took to write

    def load(self) -> dict[str, Any] | None:
        """The last state, if there is one; tensors and plain values only, so nothing in the file can run."""
        if self.file is None or not self.file.exists():
            return None
        try:
            saved = torch.load(self.file, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
            raise UserError(
                f"{self.file} is damaged ({type(error).__name__}); remove it to start the step anew."
            ) from None
        if saved.get("format") != _FORMAT:
            raise UserError(f"{self.file} was written by another version; remove it to start the step anew.")
        return saved

    def begun(self) -> tuple[str, dict[str, Any], str] | None:
        """Name and options of the network that is being trained and how it grows, if a training was begun."""
        saved = self.load()
        return None if saved is None else (*saved["network"], saved["grow"])

    def due(self) -> bool:
        """Whether it is time to save again."""
        return self.file is not None and time.monotonic() >= self._due

    def save(self, state: dict[str, Any]) -> None:
        """Replace the state on disk."""
        if self.file is None:
            return
        before = time.monotonic()
        packed = io.BytesIO()  # written by Python, because torch tells of a full disk in its own words
        torch.save(state | {"format": _FORMAT}, packed)
        with replacing(self.file) as temporary:
            temporary.write_bytes(packed.getbuffer())
        self.took = time.monotonic() - before
        self._due = time.monotonic() + max(1.0, self.took / _SHARE)
