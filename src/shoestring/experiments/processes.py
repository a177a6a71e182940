"""Runs as processes of the command line, several at a time, each with its part of the CPU cores."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from shoestring.config.recipe import Recipe
from shoestring.config.serialize import to_yaml
from shoestring.errors import BudgetTooSmall, UserError
from shoestring.runtime.cores import cores
from shoestring.runtime.files import write_text

MAX_JOBS = 4  # by default
_GRACE_SECONDS = 8.0  # from an interrupt to a kill: a run saves its state in this time
_INTERRUPTED, _TOO_SMALL = 130, 3  # exit codes


def choose_jobs(requested: int | None, device: str, runs: int) -> int:
    """Return how many runs there are at a time: as requested, else one for each core, or one with an accelerator."""
    if requested is None:
        requested = min(cores(), MAX_JOBS) if device == "cpu" or (device == "auto" and not _accelerated()) else 1
    return max(1, min(requested, runs))


def _accelerated() -> bool:
    """Whether there probably is an accelerator; asking PyTorch would take seconds."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return False
    return sys.platform == "darwin" or shutil.which("nvidia-smi") is not None or Path("/dev/kfd").exists()


class Processes:
    """At most `count` runs at a time, each with `threads` CPU threads unless its recipe says otherwise.

    `folder` is that of the experiment: recipes are written to `recipes/`, messages to `logs/`, runs to `trials/`. When
    the block ends, runs that are not finished are interrupted, and save their state.
    """

    def __init__(self, folder: Path, count: int, threads: int) -> None:
        self.folder, self.count, self.threads = folder, count, threads
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.interrupt()

    @property
    def free(self) -> bool:
        """Whether another run may be started."""
        return len(self._running) < self.count

    def start(self, name: str, recipe: Recipe) -> None:
        """Start a run, or resume it in its folder."""
        file, log = self.folder / "recipes" / f"{name}.yaml", self.folder / "logs" / f"{name}.txt"
        write_text(file, to_yaml(recipe))
        log.parent.mkdir(exist_ok=True)
        words = [sys.executable, "-m", "shoestring", "run", "--recipe", str(file)]
        words += ["--out", str(self.folder / "trials" / name)]
        threads = str(recipe.threads or self.threads)
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        with log.open("wb") as out:
            self._running[name] = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # an interrupt at the terminal is for the experiment, which passes it on
            )

    def finished(self) -> dict[str, int]:
        """Return the exit codes of the runs that have finished since the last call, by name."""
        codes = {name: code for name, process in self._running.items() if (code := process.poll()) is not None}
        for name in codes:
            del self._running[name]
        return codes

    def interrupt(self, grace: float = _GRACE_SECONDS) -> None:
        """Interrupt all runs, and wait until they have saved their state, or kill them after `grace` seconds."""
        for process in self._running.values():
            process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + min(grace, _GRACE_SECONDS)
        for process in self._running.values():
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()

    def error(self, name: str, code: int) -> UserError:
        """Return the error of a run that ended with this exit code: its own message, with the same code."""
        log = self.folder / "logs" / f"{name}.txt"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        if code == _INTERRUPTED:
            raise KeyboardInterrupt
        if not told:
            last = f": {lines[-1]}" if lines else ""
            return UserError(f"run {name} ended with exit code {code}{last}.")
        if code != _TOO_SMALL:
            return UserError(told[-1])
        least = re.search(r"--(?:time|epochs|flops) ([\d.e+]+)s?\.$", told[-1])
        return BudgetTooSmall(told[-1], least=float(least[1]) if least else 0.0)
