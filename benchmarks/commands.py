"""Run a shoestring command in its own process, as a user would, and time it from outside."""

from __future__ import annotations

import json
import multiprocessing
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import machine


@dataclass(frozen=True)
class Case:
    """One command and its repetitions; `hog` keeps one core busy in the second half of its time.

    If `seconds` is 0, the budget is among the arguments.
    """

    arguments: tuple[str, ...]
    seconds: int
    repeat: int = 1
    hog: bool = False
    verb: str = "run"


def measure(case: Case, seed: int) -> dict[str, Any]:
    """Run the command once; return its wall-clock and CPU seconds and its result."""
    hardware = machine()
    out = tempfile.mkdtemp(prefix="shoestring-benchmark-")
    shutil.rmtree(out)
    words = [case.verb, *case.arguments, *(["--time", f"{case.seconds}s"] if case.seconds else [])]
    command = [sys.executable, "-m", "shoestring", *words, "--seed", str(seed), "--out", out, "--json", "--quiet"]
    hog = threading.Timer(case.seconds / 2, _hog, [case.seconds / 2]) if case.hog else None
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    if hog:
        hog.start()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = json.loads(done.stdout)
    training = json.loads((Path(out) / "run.json").read_text())["training"]
    shutil.rmtree(out)
    fields = (
        "accuracy",
        "interval",
        "validation",
        "params",
        "macs",
        "examples",
        "select",
        "model",
        "options",
        "ledger",
    )
    return {
        "command": ["shoestring", case.verb, Path(case.arguments[0]).name, *words[2:]],
        "asked_seconds": case.seconds,
        "wall_seconds": round(wall, 2),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        **{key: result[key] for key in (*fields, "before_pruning")},
        "training": training,
        "hog": case.hog,
        "machine": hardware,
    }


def _hog(seconds: float) -> None:
    """Keep one core busy for this long, in another process."""
    multiprocessing.get_context("spawn").Process(target=_spin, args=(seconds,), daemon=True).start()


def _spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
