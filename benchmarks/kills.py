"""Robustness to SIGKILL: trainings on digits, killed at random moments, must leave a usable model.

    python benchmarks/kills.py [--times 50] [--seconds 14] [--jobs 2]

Each training is killed at a random moment after a tenth of its time. The first seconds are spent on starting Python and
loading, so each row of results/kills.json also holds the fraction of the training that was completed.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from machine import machine
from shoestring.data import load
from shoestring.execute import accuracy
from shoestring.runs.directory import RunDir
from shoestring.runs.models import usable_model

RESULTS = Path(__file__).parent / "results" / "kills.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=14.0)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    hardware, moments = machine(), random.Random(0)
    plan = [(number, moments.uniform(0.1, 1.0)) for number in range(args.times)]
    with ThreadPoolExecutor(args.jobs) as pool:
        rows = list(pool.map(lambda one: kill(*one, args.seconds), plan))
    counted = [row for row in rows if row["fraction"] >= 0.1]
    summary = {"kills": len(rows), "in_training": len(counted), "with_a_model": sum(row["model"] for row in counted)}
    RESULTS.write_text(
        json.dumps({**summary, "seconds": args.seconds, "rows": rows, "machine": hardware}, indent=1) + "\n"
    )
    print(json.dumps(summary))


def kill(number: int, fraction: float, seconds: float) -> dict[str, Any]:
    """Kill one training at this fraction of its time; return what remains of it."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        words = ["train", "digits", "--time", f"{seconds}s", "--seed", str(number), "--out", str(out), "--quiet"]
        process = subprocess.Popen(
            [sys.executable, "-m", "shoestring", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(fraction * seconds)
        process.kill()
        process.wait()
        history = RunDir(out).history() if out.exists() else []
        trained = max((row["fraction"] for row in history if row.get("step") == "train"), default=0.0)
        row: dict[str, Any] = {"share": round(fraction, 3), "fraction": trained, "model": False}
        try:
            row["validation"] = round(accuracy(usable_model(out, str), load("digits").validation), 4)
            row["model"] = True
        except Exception as error:
            row["error"] = f"{type(error).__name__}: {error}".replace(str(out), "RUN")
        return row


if __name__ == "__main__":
    main()
