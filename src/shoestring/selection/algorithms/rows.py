"""Rows of an array in memory or in a file: read only when asked for, and cheap to send to another process."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from shoestring.errors import UserError


@dataclass(frozen=True)
class File:
    """Where an array (N, D) lies in a file, row after row."""

    path: Path
    dtype: DTypeLike
    shape: tuple[int, ...]
    offset: int  # bytes

    def rows(self, places: NDArray[np.int64] | slice) -> NDArray[np.floating]:
        """A copy of these rows.

        They are read and not mapped: some systems map far more around a row than is asked for, in the end all of it.
        """
        if isinstance(places, slice):
            places = np.arange(*places.indices(self.shape[0]))
        order = np.argsort(places, kind="stable")
        ascending = bool((np.diff(order) > 0).all())
        wanted = places if ascending else places[order]
        found = np.empty((len(places), *self.shape[1:]), dtype=self.dtype)
        first = np.flatnonzero(np.diff(wanted, prepend=-2) != 1)  # neighbours are read together
        with self.path.open("rb", buffering=0) as file:
            for begin, end in zip(first, np.append(first[1:], len(wanted))):
                self._fill(found[begin:end], int(wanted[begin]), file)
        return found if ascending else found[np.argsort(order)]

    def _fill(self, rows: NDArray[np.floating], start: int, file: RawIOBase) -> None:
        left = rows.view(np.uint8).data.cast("B")
        file.seek(self.offset + start * (left.nbytes // len(rows)))
        while len(left):
            if not (count := file.readinto(left)):
                raise UserError(f"{self.path} has become shorter while it was read.")
            left = left[count:]


@dataclass(frozen=True)
class Stored:
    """These rows (all, when None) of an array (N, D), which in a file are only named until they are read."""

    values: NDArray[np.floating] | File
    places: NDArray[np.int64] | None = None
    scales: NDArray[np.float32] | None = None  # (rows,) by which the rows are multiplied when they are read

    def __len__(self) -> int:
        if self.places is not None:
            return len(self.places)
        return self.values.shape[0]

    def part(self, places: NDArray[np.int64] | None) -> Stored:
        """The rows at these places among these rows (all, when None)."""
        if places is None:
            return self
        scales = None if self.scales is None else self.scales[places]
        return Stored(self.values, places if self.places is None else self.places[places], scales)

    def scaled(self, by: NDArray[np.floating]) -> Stored:
        """The rows, each multiplied by a number (N,) when it is read."""
        return Stored(self.values, self.places, by.astype(np.float32))

    def read(self) -> NDArray[np.float32]:
        """The rows in float32."""
        if isinstance(self.values, File):
            rows = self.values.rows(slice(None) if self.places is None else self.places)
        else:
            rows = self.values if self.places is None else self.values[self.places]
        with np.errstate(over="ignore"):  # the caller sees that such rows are not finite
            found = np.asarray(rows, dtype=np.float32)
        return found if self.scales is None else found * self.scales[:, None]

    def alone(self) -> Stored:
        """The same without the other rows, to be sent to another process."""
        if isinstance(self.values, File) or self.places is None:
            return self
        return Stored(self.values[self.places], scales=self.scales)


def stored(values: NDArray[np.floating], places: NDArray[np.int64] | None = None) -> Stored:
    """Rows of an array, which is named by its file where it is the mapping of one."""
    if isinstance(values, np.memmap) and values.filename is not None and _is_whole(values):
        return Stored(File(Path(values.filename), values.dtype, values.shape, values.offset), places)
    return Stored(values, places)


def _is_whole(values: np.memmap) -> bool:
    """Whether this is a mapping row after row, and not a part of one."""
    return isinstance(values.base, mmap.mmap) and values.flags.c_contiguous
