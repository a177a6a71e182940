"""Several processes that serve from one socket, and the one that starts, watches and ends them."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from prometheus_client.multiprocess import mark_process_dead

from shoestring.errors import UserError, messages_with_flags
from shoestring.serving.logs import log, start_logging
from shoestring.serving.metrics import SHARED_METRICS
from shoestring.serving.settings import Settings

_POLL_SECONDS = 0.2
_RESTART_SECONDS = 2.0  # from one start of a worker to the next, so that a defect does not start thousands


class Workers:
    """Processes that serve the same files from the same socket; one that dies is replaced."""

    def __init__(self, files: Mapping[str, Path], opened: socket.socket, settings: Settings, *, quiet: bool) -> None:
        self._arguments, self._opened = (dict(files), opened, settings, quiet), opened
        self._workers: list[_Worker] = []
        self._ending = False

    def run(self, count: int, on_start: Callable[[], None]) -> None:
        """Serve with so many processes until a signal ends this one. Raises `UserError` if a worker cannot serve."""
        with _shared_metrics(), self._signals():
            try:
                self._workers = [_Worker(self._arguments) for _ in range(count)]
                if all(worker.wait(lambda: self._ending) for worker in self._workers):
                    on_start()
                while not self._ending:
                    time.sleep(_POLL_SECONDS)
                    self._replace_dead()
            finally:
                self._opened.close()  # the port is free when the last worker has closed it
                self._forward(signal.SIGTERM)
                for worker in self._workers:
                    worker.process.join()

    def _replace_dead(self) -> None:
        for index, worker in enumerate(self._workers):
            alive = worker.process.is_alive()
            if not alive and not self._ending and time.monotonic() - worker.started > _RESTART_SECONDS:
                fields = {
                    "process": worker.process.pid,
                    "exit_code": worker.process.exitcode,
                    "reason": worker.reason(),
                }
                log("replacing a process that ended", level=logging.ERROR, **fields)
                mark_process_dead(worker.process.pid)
                self._workers[index] = _Worker(self._arguments)

    def _forward(self, number: int) -> None:
        for worker in self._workers:
            if worker.process.pid is not None and worker.process.is_alive():
                os.kill(worker.process.pid, number)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Inside the block, signals end the workers, a second one without waiting for answers."""

        def end(number: int, frame: Any) -> None:
            if self._ending:
                self._forward(signal.SIGTERM)
            self._ending = True

        def hang_up(number: int, frame: Any) -> None:
            self._forward(number)

        handlers = {signal.SIGTERM: end, signal.SIGINT: end}
        if hasattr(signal, "SIGHUP"):
            handlers[signal.SIGHUP] = hang_up
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Worker:
    """A process that serves, and the end of a pipe on which it says that it does, or why not."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self.process = context.Process(target=_work, args=(*arguments, other))
        self.process.start()
        other.close()
        self.started = time.monotonic()

    def wait(self, is_ending: Callable[[], bool]) -> bool:
        """Wait until the process serves; False if the server ends before. Raises `UserError` if it cannot serve."""
        while not self._connection.poll(_POLL_SECONDS):
            if is_ending():
                return False
        if reason := self.reason():
            raise UserError(reason)
        return True

    def reason(self) -> str:
        """Return why the process cannot serve; empty if it can."""
        try:
            return self._connection.recv() if self._connection.poll() else ""
        except EOFError:
            return "a process of the server ended without a reason: see its messages above."


def _work(
    files: Mapping[str, Path], opened: socket.socket, settings: Settings, quiet: bool, connection: Connection
) -> None:
    """Serve in a process of its own, until a signal or the end of the parent process."""
    from shoestring.serving.server import run

    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # Ctrl-C reaches the parent alone, which passes it on
    start_logging(quiet=quiet)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_after, args=(parent.join,), daemon=True).start()
    with messages_with_flags():
        try:
            run(files, opened, settings, lambda: connection.send(""))
        except UserError as error:
            connection.send(str(error))


def _end_after(wait: Callable[[], None]) -> None:
    wait()
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def _shared_metrics() -> Iterator[None]:
    """Inside the block, processes that are started store their metrics in one folder."""
    with tempfile.TemporaryDirectory(prefix="shoestring-metrics-") as folder:
        os.environ[SHARED_METRICS] = folder
        try:
            yield
        finally:
            del os.environ[SHARED_METRICS]
