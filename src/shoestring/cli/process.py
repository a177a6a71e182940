"""The process of a command: output streams without a reader, and termination signals."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from typing import IO, Any

from shoestring.runtime.signals import GracePeriod


def protect_streams() -> None:
    """Drop output to a stream that is closed or whose reader has ended, so that the command continues.

    The file descriptor of a stream that was closed before the process started would otherwise be reused by the next
    file that is opened, and messages would be written to it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = _writer(1, sys.stdout, (BrokenPipeError,), unbuffered=False)
    sys.stderr = _writer(2, sys.stderr, (OSError,), unbuffered=True)


def handle_signals() -> None:
    """From now on, interrupts and termination signals end the command cleanly, after annealing a training run.

    Call this when everything is imported: some libraries break if they are interrupted while being imported.
    """
    handlers: dict[int, Callable[..., Any]] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: GracePeriod.on_signal,
    }
    for number, handler in handlers.items():
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


class _DroppingFile(io.FileIO):
    """A file that drops what it cannot write because of one of these errors."""

    def __init__(self, number: int, errors: tuple[type[OSError], ...]) -> None:
        super().__init__(number, "w", closefd=False)
        self._errors = errors

    def write(self, data: Any) -> int | None:
        """Write bytes, or drop them."""
        try:
            return super().write(data)
        except self._errors:
            return memoryview(data).nbytes


def _writer(number: int, previous: IO[str] | None, errors: tuple[type[OSError], ...], *, unbuffered: bool) -> Any:
    """Return a text stream like the previous one; characters missing from its encoding are written as escapes."""
    if previous is not None:
        previous.flush()
    raw = _DroppingFile(number, errors)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(previous, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=unbuffered or raw.isatty(),
    )
