"""Rows of an array in memory or in a file: read on demand, and cheap to send to another process."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from shoestring.errors import UserError


@dataclass(frozen=True)
class ArrayFile:
    """Where a C-contiguous array (N, D) is stored in a file."""

    path: Path
    dtype: DTypeLike
    shape: tuple[int, ...]
    offset: int  # bytes

    def rows(self, indices: NDArray[np.int64] | slice) -> NDArray[np.floating]:
        """Return a copy of these rows.

        They are read and not memory-mapped: some systems map far more around a row than requested, and in the end the
        whole file.
        """
        if isinstance(indices, slice):
            indices = np.arange(*indices.indices(self.shape[0]))
        order = np.argsort(indices, kind="stable")
        ascending = bool((np.diff(order) > 0).all())
        requested = indices if ascending else indices[order]
        result = np.empty((len(indices), *self.shape[1:]), dtype=self.dtype)
        first = np.flatnonzero(np.diff(requested, prepend=-2) != 1)  # adjacent rows are read together
        with self.path.open("rb", buffering=0) as file:
            for begin, end in zip(first, np.append(first[1:], len(requested))):
                self._fill(result[begin:end], int(requested[begin]), file)
        return result if ascending else result[np.argsort(order)]

    def _fill(self, rows: NDArray[np.floating], start: int, file: RawIOBase) -> None:
        buffer = rows.view(np.uint8).data.cast("B")
        file.seek(self.offset + start * (buffer.nbytes // len(rows)))
        while len(buffer):
            if not (count := file.readinto(buffer)):
                raise UserError(f"{self.path} was truncated while it was being read.")
            buffer = buffer[count:]


@dataclass(frozen=True)
class StoredRows:
    """Rows `indices` (None: all) of an array (N, D); an array in a file is not loaded before `read`."""

    values: NDArray[np.floating] | ArrayFile
    indices: NDArray[np.int64] | None = None
    scales: NDArray[np.float32] | None = None  # (rows,): factors applied on reading

    def __len__(self) -> int:
        if self.indices is not None:
            return len(self.indices)
        return self.values.shape[0]

    def take(self, indices: NDArray[np.int64] | None) -> StoredRows:
        """Return the rows at these positions among these rows (None: all)."""
        if indices is None:
            return self
        scales = None if self.scales is None else self.scales[indices]
        return StoredRows(self.values, indices if self.indices is None else self.indices[indices], scales)

    def scaled(self, factors: NDArray[np.floating]) -> StoredRows:
        """Return the rows, each multiplied by a factor (N,) on reading."""
        return StoredRows(self.values, self.indices, factors.astype(np.float32))

    def read(self) -> NDArray[np.float32]:
        """Return the rows in float32."""
        if isinstance(self.values, ArrayFile):
            rows = self.values.rows(slice(None) if self.indices is None else self.indices)
        else:
            rows = self.values if self.indices is None else self.values[self.indices]
        with np.errstate(over="ignore"):  # callers check for rows that are not finite
            result = np.asarray(rows, dtype=np.float32)
        return result if self.scales is None else result * self.scales[:, None]

    def detached(self) -> StoredRows:
        """Return the same rows without the rest of an array in memory, to be sent to another process."""
        if isinstance(self.values, ArrayFile) or self.indices is None:
            return self
        return StoredRows(self.values[self.indices], scales=self.scales)


def as_stored(values: NDArray[np.floating], indices: NDArray[np.int64] | None = None) -> StoredRows:
    """Rows of an array, by reference to its file if it is a memory map of one."""
    if isinstance(values, np.memmap) and values.filename is not None and _is_contiguous_map(values):
        return StoredRows(ArrayFile(Path(values.filename), values.dtype, values.shape, values.offset), indices)
    return StoredRows(values, indices)


def _is_contiguous_map(values: np.memmap) -> bool:
    """Whether this is a whole C-contiguous memory map and not a view of a part."""
    return isinstance(values.base, mmap.mmap) and values.flags.c_contiguous
