"""A shoestring command as a process of its own, as a user would start it, timed from outside."""

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
    """One command, and how often it is run; `hog` takes a core from half of its time on.

    Without `seconds` (0) the arguments say what may be spent.
    """

    arguments: tuple[str, ...]
    seconds: int
    repeat: int = 1
    hog: bool = False
    verb: str = "run"


def measure(case: Case, seed: int) -> dict[str, Any]:
    """One run as a process: seconds on the wall and of the processor, and what it printed."""
    around = machine()
    out = tempfile.mkdtemp(prefix="shoestring-benchmark-")
    shutil.rmtree(out)
    what = [case.verb, *case.arguments, *(["--time", f"{case.seconds}s"] if case.seconds else [])]
    command = [sys.executable, "-m", "shoestring", *what, "--seed", str(seed), "--out", out, "--json", "--quiet"]
    hog = threading.Timer(case.seconds / 2, _hog, [case.seconds / 2]) if case.hog else None
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    if hog:
        hog.start()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = json.loads(done.stdout)
    training = json.loads((Path(out) / "run.json").read_text())["training"]
    shutil.rmtree(out)
    kept = ("accuracy", "interval", "validation", "params", "macs", "examples", "select", "model", "options", "ledger")
    return {
        "command": ["shoestring", case.verb, Path(case.arguments[0]).name, *what[2:]],
        "asked_seconds": case.seconds,
        "wall_seconds": round(wall, 2),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        **{key: result[key] for key in (*kept, "before_pruning")},
        "training": training,
        "hog": case.hog,
        "machine": around,
    }


def _hog(seconds: float) -> None:
    """Keep one core busy for so long, from a process of its own."""
    multiprocessing.get_context("spawn").Process(target=_spin, args=(seconds,), daemon=True).start()


def _spin(seconds: float) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        pass
