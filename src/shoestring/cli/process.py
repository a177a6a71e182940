"""The process of a command: streams that nobody may be reading, and signals that end it."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from typing import IO, Any

from shoestring.runtime.signals import GracePeriod


def secure_streams() -> None:
    """Let a stream that is closed, or whose reader leaves, drop what is written to it: the work goes on.

    A stream that was closed before the process began would otherwise be the number of the next file that is opened, in
    which messages would end up.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = _writer(1, sys.stdout, (BrokenPipeError,), at_once=False)
    sys.stderr = _writer(2, sys.stderr, (OSError,), at_once=True)


def interruptible() -> None:
    """From here on an interrupt or a termination signal lets the work end in order, a training annealed first.

    To be called when everything is imported: some libraries do not survive an interrupt while they are loaded.
    """
    handlers: dict[int, Callable[..., Any]] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: GracePeriod.on_signal,
    }
    for number, handler in handlers.items():
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


class _Forgiving(io.FileIO):
    """A file that takes what it cannot write, where it cannot for one of these reasons."""

    def __init__(self, number: int, reasons: tuple[type[OSError], ...]) -> None:
        super().__init__(number, "w", closefd=False)
        self._reasons = reasons

    def write(self, data: Any) -> int | None:
        """Write bytes, or drop them."""
        try:
            return super().write(data)
        except self._reasons:
            return memoryview(data).nbytes


def _writer(number: int, before: IO[str] | None, reasons: tuple[type[OSError], ...], *, at_once: bool) -> Any:
    """A text stream like the one before; characters that its encoding lacks are written as escapes."""
    if before is not None:
        before.flush()
    raw = _Forgiving(number, reasons)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(before, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=at_once or raw.isatty(),
    )
