"""A server as a process: started, waited for, measured and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


class ServerProcess:
    """A server that runs inside a `with` block; `ready_at` is the time of its first answer (`time.perf_counter`)."""

    def __init__(self, command: list[str], port: int, health: str) -> None:
        self.port, self._health = port, f"http://127.0.0.1:{port}{health}"
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        self._is_ending = False

    def __enter__(self) -> ServerProcess:
        while True:
            try:
                with urllib.request.urlopen(self._health, timeout=5):
                    self.ready_at = time.perf_counter()
                    return self
            except (urllib.error.URLError, OSError):
                assert self.process.poll() is None, "the server runs"
                time.sleep(0.005)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._is_ending:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def signal(self, number: int) -> None:
        """Send a signal that ends the server to its first process alone."""
        self._is_ending = True
        self.process.send_signal(number)

    def memory_mb(self) -> float:
        """Return the resident memory of the process and those that it has started, in MB."""
        return round(sum(_resident(pid) for pid in _tree(self.process.pid)) / 1e6, 1)


def _tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in _tree(int(child)))]


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
