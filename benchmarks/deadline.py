"""Runs beside busy processes: whether each ends in time, is refused, and how accurate it is.

    python benchmarks/deadline.py [--cifar10 DIR] [--runs N] [--only CASE ...] [--table]

Busy processes run from the start, for the first ten seconds, or from half of the time on. Each run is a process of its
own, timed from outside, and its row is added to results/deadline.json at once. The machine must be idle otherwise.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import machine
from measured import Row, Rows

ROWS = Rows("deadline.json", ("case", "busy", "when", "seed"))
BURST = 10.0  # seconds


@dataclass(frozen=True)
class Case:
    """A command, and how many processes are busy beside it when: "start", "burst" or "half"."""

    name: str
    arguments: tuple[str, ...]
    seconds: int
    runs: int
    busy: int = 0
    when: str = "start"


def cases(cifar10: str | None) -> list[Case]:
    """Digits in 20 s with all loads, and idle in half of it; CIFAR-10 in 590 s with the loads that decide its plan."""
    digits = ("digits", "--examples", "300")
    found = [Case("digits", digits, 20, 20), Case("digits_half", digits, 10, 20)]
    found += [Case("digits", digits, 20, 20, busy, when) for busy in (1, 2) for when in ("start", "burst", "half")]
    if cifar10:
        found += [Case("cifar10", (cifar10,), 590, 1), Case("cifar10_half", (cifar10,), 295, 1)]
        found += [Case("cifar10", (cifar10,), 590, 1, 2, when) for when in ("start", "burst")]
    return found


@contextmanager
def busy_beside(case: Case) -> Iterator[None]:
    """Keep so many processes busy as the case says."""
    spawn = multiprocessing.get_context("spawn")
    stop = spawn.Event()
    hogs = [spawn.Process(target=_spin, args=(stop,), daemon=True) for _ in range(case.busy)]

    def begin() -> None:
        for hog in hogs:
            hog.start()

    later = threading.Timer(case.seconds / 2, begin) if case.when == "half" else None
    if later is None:
        begin()
        time.sleep(0.5 if hogs else 0.0)  # for these processes to be there
    else:
        later.start()
    end = threading.Timer(BURST, stop.set) if case.when == "burst" else None
    if end is not None:
        end.start()
    try:
        yield
    finally:
        for timer in (later, end):
            if timer is not None:
                timer.cancel()
        stop.set()
        for hog in hogs:
            with suppress(AssertionError):  # one that was not started yet
                hog.join()


def _spin(stop: Any) -> None:
    while not stop.is_set():
        for _ in range(100_000):
            pass


def measure(case: Case, seed: int) -> Row:
    """One run: its seconds from outside, and what became of it."""
    around, out = machine(), tempfile.mkdtemp(prefix="shoestring-benchmark-")
    shutil.rmtree(out)
    words = ["run", *case.arguments, "--time", f"{case.seconds}s"]
    command = [sys.executable, "-m", "shoestring", *words, "--seed", str(seed), "--out", out, "--json", "--quiet"]
    with busy_beside(case):
        began = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wall = time.monotonic() - began
    result = json.loads(done.stdout) if done.returncode == 0 else {}
    training = json.loads((Path(out) / "run.json").read_text()).get("training", {}) if result else {}
    shutil.rmtree(out, ignore_errors=True)
    return {
        "case": case.name,
        "busy": case.busy,
        "when": case.when,
        "seed": seed,
        "command": ["shoestring", "run", Path(case.arguments[0]).name, *words[2:]],
        "asked_seconds": case.seconds,
        "wall_seconds": round(wall, 2),
        "exit": done.returncode,
        "error": None if result else done.stderr.strip().splitlines()[-1:],
        "accuracy": result.get("accuracy"),
        "options": result.get("options"),
        "training": training,
        "machine": around,
    }


def table(found: list[Row]) -> str:
    """One line a case: how many were late or refused, the range of seconds, mean and range of the accuracy."""
    lines = [
        "| command | busy beside it | runs | late | refused | seconds | test accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    words = {"start": "", "burst": f", the first {BURST:.0f} s", "half": ", from half of the time on"}
    for key in dict.fromkeys((row["case"], row["busy"], row["when"]) for row in found):
        mine = [row for row in found if (row["case"], row["busy"], row["when"]) == key]
        wall = [row["wall_seconds"] for row in mine]
        late = sum(row["wall_seconds"] > row["asked_seconds"] for row in mine)
        accuracy = [100 * row["accuracy"] for row in mine if row["accuracy"] is not None]
        spread = f"{statistics.mean(accuracy):.2f} % ({min(accuracy):.2f} to {max(accuracy):.2f})" if accuracy else "-"
        beside = f"{key[1]} processes{words[key[2]]}" if key[1] else "nothing"
        refused = sum(row["exit"] == 3 for row in mine)
        lines.append(
            f"| `{' '.join(mine[0]['command'])}` | {beside} | {len(mine)} | {late} | {refused} "
            f"| {min(wall):.1f} to {max(wall):.1f} | {spread} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar10", help="folder of CIFAR-10 as Parquet; without it only digits are run")
    parser.add_argument("--runs", type=int, help="runs of each case at most")
    parser.add_argument("--only", nargs="*", help="names of cases")
    parser.add_argument("--table", action="store_true", help="print the summary of what has been measured")
    given = parser.parse_args()
    if given.table:
        print(table(ROWS.read()))
        return
    for case in cases(given.cifar10):
        if given.only and case.name not in given.only:
            continue
        for seed in range(min(case.runs, given.runs or case.runs)):
            about = {"case": case.name, "busy": case.busy, "when": case.when, "seed": seed}
            if ROWS.have(about):
                continue
            row = measure(case, seed)
            ROWS.put(row)
            print(*about.values(), row["wall_seconds"], row["exit"], row["accuracy"], flush=True)


if __name__ == "__main__":
    main()
