"""Deadlines on a busy machine: whether each run ends in time or is refused, and its accuracy.

    python benchmarks/deadline.py [--cifar10 DIR] [--seconds N] [--runs N] [--only CASE ...]
    python benchmarks/deadline.py --page docs/benchmarks.md

Busy processes run from the start, for the first ten seconds, or in the second half of the time. Each run is a separate
process, timed from outside; its row is saved to results/deadline.json at once. The machine must otherwise be idle.
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
from measured import Row, Rows, fill

ROWS = Rows("deadline.json", ("case", "busy", "when", "seed"))
BURST = 10.0  # seconds


@dataclass(frozen=True)
class Case:
    """A command, and how many other processes are busy when: "start", "burst" or "half"."""

    name: str
    arguments: tuple[str, ...]
    seconds: int
    runs: int
    busy: int = 0
    when: str = "start"


def cases(cifar10: str | None, seconds: int) -> list[Case]:
    """Return digits in 20 s with all loads and in 10 s idle, and CIFAR-10 with the loads that affect its plan.

    CIFAR-10 is trained for so many seconds, and for half of them idle.
    """
    digits = ("digits", "--examples", "300")
    result = [Case("digits", digits, 20, 20), Case("digits_half", digits, 10, 20)]
    result += [Case("digits", digits, 20, 20, busy, when) for busy in (1, 2) for when in ("start", "burst", "half")]
    if cifar10:
        result += [Case("cifar10", (cifar10,), seconds, 1), Case("cifar10_half", (cifar10,), seconds // 2, 1)]
        result += [Case("cifar10", (cifar10,), seconds, 1, 2, when) for when in ("start", "burst")]
    return result


@contextmanager
def busy_beside(case: Case) -> Iterator[None]:
    """Keep as many processes busy as the case requires."""
    spawn = multiprocessing.get_context("spawn")
    stop = spawn.Event()
    hogs = [spawn.Process(target=_spin, args=(stop,), daemon=True) for _ in range(case.busy)]

    def start_hogs() -> None:
        for hog in hogs:
            hog.start()

    later = threading.Timer(case.seconds / 2, start_hogs) if case.when == "half" else None
    if later is None:
        start_hogs()
        time.sleep(0.5 if hogs else 0.0)  # wait until these processes have started
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
            with suppress(AssertionError):  # it was not started
                hog.join()


def _spin(stop: Any) -> None:
    while not stop.is_set():
        for _ in range(100_000):
            pass


def measure(case: Case, seed: int) -> Row:
    """Run the command once; return its wall-clock seconds, exit code and result."""
    hardware, out = machine(), tempfile.mkdtemp(prefix="shoestring-benchmark-")
    shutil.rmtree(out)
    words = ["run", *case.arguments, "--time", f"{case.seconds}s"]
    command = [sys.executable, "-m", "shoestring", *words, "--seed", str(seed), "--out", out, "--json", "--quiet"]
    with busy_beside(case):
        start = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wall = time.monotonic() - start
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
        "machine": hardware,
    }


def table(rows: list[Row]) -> str:
    """Return a Markdown table: late and refused runs, seconds, and accuracy of each case."""
    lines = [
        "| command | busy beside it | runs | late | refused | seconds | test accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    words = {"start": "", "burst": f", the first {BURST:.0f} s", "half": ", in the second half"}
    for key in sorted({(row["case"], row["busy"], row["when"]) for row in rows}):
        group = [row for row in rows if (row["case"], row["busy"], row["when"]) == key]
        wall = [row["wall_seconds"] for row in group]
        late = sum(row["wall_seconds"] > row["asked_seconds"] for row in group)
        accuracy = [100 * row["accuracy"] for row in group if row["accuracy"] is not None]
        spread = f"{statistics.mean(accuracy):.2f} %" if accuracy else "-"
        spread += f" ({min(accuracy):.2f} to {max(accuracy):.2f})" if len(accuracy) > 1 else ""
        beside = f"{key[1]} process{'es' * (key[1] > 1)}{words[key[2]]}" if key[1] else "nothing"
        refused = sum(row["exit"] == 3 for row in group)
        lines.append(
            f"| `{' '.join(group[0]['command'])}` | {beside} | {len(group)} | {late} | {refused} "
            f"| {min(wall):.1f} to {max(wall):.1f} | {spread} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar10", help="folder of CIFAR-10 as Parquet; without it only digits are run")
    parser.add_argument("--seconds", type=int, default=590, help="budget of CIFAR-10 (default: 590)")
    parser.add_argument("--runs", type=int, help="maximum number of runs of each case")
    parser.add_argument("--only", nargs="*", help="names of cases")
    parser.add_argument("--page", type=Path, help="page to write the table of results into, instead of running")
    args = parser.parse_args()
    if args.page:
        fill(args.page, deadline=table(ROWS.read()))
        return
    for case in cases(args.cifar10, args.seconds):
        if args.only and case.name not in args.only:
            continue
        for seed in range(min(case.runs, args.runs or case.runs)):
            key = {"case": case.name, "busy": case.busy, "when": case.when, "seed": seed}
            if ROWS.have(key):
                continue
            row = measure(case, seed)
            ROWS.put(row)
            print(*key.values(), row["wall_seconds"], row["exit"], row["accuracy"], flush=True)


if __name__ == "__main__":
    main()
