"""Rows of an array in memory or in a file: read only when asked for, and cheap to send to another process."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray


@dataclass(frozen=True)
class File:
    """Where a memory-mapped array (N, D) lies."""

    path: Path
    dtype: DTypeLike
    shape: tuple[int, ...]
    offset: int  # bytes

    def rows(self, places: NDArray[np.int64] | slice) -> NDArray[np.floating]:
        """A copy of these rows, through a mapping of their own: no page that was read stays with the process."""
        mapped = np.memmap(self.path, dtype=self.dtype, mode="r", offset=self.offset, shape=self.shape)
        return np.array(mapped[places])


@dataclass(frozen=True)
class Stored:
    """These rows (all, when None) of an array (N, D), which in a file are only named until they are read."""

    values: NDArray[np.floating] | File
    places: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        if self.places is not None:
            return len(self.places)
        return self.values.shape[0]

    def part(self, places: NDArray[np.int64] | None) -> Stored:
        """The rows at these places among these rows (all, when None)."""
        if places is None:
            return self
        return Stored(self.values, places if self.places is None else self.places[places])

    def read(self) -> NDArray[np.float32]:
        """The rows in float32."""
        if isinstance(self.values, File):
            rows = self.values.rows(slice(None) if self.places is None else self.places)
        else:
            rows = self.values if self.places is None else self.values[self.places]
        return np.asarray(rows, dtype=np.float32)

    def alone(self) -> Stored:
        """The same without the other rows, to be sent to another process."""
        if isinstance(self.values, File) or self.places is None:
            return self
        return Stored(self.values[self.places])


def stored(values: NDArray[np.floating], places: NDArray[np.int64] | None = None) -> Stored:
    """Rows of an array, which is named by its file where it is the mapping of one."""
    if isinstance(values, np.memmap) and isinstance(values.base, mmap.mmap) and values.filename is not None:
        values_or_file = File(Path(values.filename), values.dtype, values.shape, values.offset)
        return Stored(values_or_file, places)
    return Stored(values, places)
