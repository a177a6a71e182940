"""Results of a lottery ticket experiment, in memory or in a folder, so that it can be resumed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from shoestring.errors import UserError
from shoestring.models.weights import read_tensors
from shoestring.runtime.files import atomic_write, read_json, write_json

Row = dict[str, Any]
_KEY = ("seed", "level", "network")


class Store:
    """Rows of results, each identified by seed, level and network, and tensors by name.

    With a `folder` they are files: `rows.json`, and one `.safetensors` file for each name.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._tensors: dict[str, dict[str, Tensor]] = {}
        self.rows: list[Row] = []
        if folder is not None and (folder / "rows.json").exists():
            self.rows = _checked(read_json(folder / "rows.json"), folder / "rows.json")

    def find(self, seed: int, level: int, network: str) -> Row | None:
        """Return the row of a training that is done."""
        return next((row for row in self.rows if [row[key] for key in _KEY] == [seed, level, network]), None)

    def add(self, row: Row) -> None:
        """Add the row of a training; what it needs must have been put before."""
        self.rows.append(row)
        if self.folder is not None:
            write_json(self.folder / "rows.json", self.rows)

    def put(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors under a name."""
        if self.folder is None:
            self._tensors[name] = dict(tensors)
            return
        with atomic_write(self.folder / f"{name}.safetensors") as temporary:
            temporary.write_bytes(save({key: tensor.contiguous() for key, tensor in tensors.items()}))

    def get(self, name: str) -> dict[str, Tensor] | None:
        """Return the tensors under a name, or None."""
        if self.folder is None:
            return self._tensors.get(name)
        file = self.folder / f"{name}.safetensors"
        return read_tensors(file) if file.exists() else None

    def remove(self, name: str) -> None:
        """Remove the tensors under a name, if there are any."""
        self._tensors.pop(name, None)
        if self.folder is not None:
            (self.folder / f"{name}.safetensors").unlink(missing_ok=True)


def _checked(rows: Any, file: Path) -> list[Row]:
    if isinstance(rows, list) and all(isinstance(row, dict) and {*_KEY, "weights"} <= row.keys() for row in rows):
        return rows
    raise UserError(f"{file} is corrupted: it does not hold the results of trainings. Remove its folder to start over.")
