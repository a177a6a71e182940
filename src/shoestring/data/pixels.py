"""Writing the file of decoded pixels, and reporting progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoestring.data.cache import cache_write_errors

Progress = Callable[[int, int], None]


class PixelsFile:
    """Writer of pixels.npy, block by block: not a memory map, with which a full disk would kill the process."""

    def __init__(self, folder: Path, shape: tuple[int, int, int]) -> None:
        self._folder, self._shape, self._count = folder, shape, 0

    def __enter__(self) -> PixelsFile:
        with cache_write_errors(self._folder):
            self._file = (self._folder / "pixels.npy").open("wb")
            self._header()
        return self

    def write(self, pixels: NDArray[np.uint8]) -> None:
        """Append images (N, H, W, C)."""
        with cache_write_errors(self._folder):
            self._file.write(pixels.data)
        self._count += len(pixels)

    def _header(self) -> None:
        # numpy leaves space for a longer first axis, so the header can be rewritten when the count is known
        header = {"descr": "|u1", "fortran_order": False, "shape": (self._count, *self._shape)}
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, header)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with cache_write_errors(self._folder), self._file:
            if kind is None:
                self._header()


class Report:
    """Calls `progress(done, total)` at most twenty times a second."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._progress = total, progress
        self._done, self._next = 0, 0.0

    def add(self, count: int) -> None:
        """Count more images as done."""
        self._done += count
        if self._progress and time.monotonic() >= self._next:
            self._progress(self._done, self._total)
            self._next = time.monotonic() + 0.05

    def close(self) -> None:
        """Report completion."""
        if self._progress:
            self._progress(self._done, self._done)
