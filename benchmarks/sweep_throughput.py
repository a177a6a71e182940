"""Throughput of an experiment: short runs two at a time and one after the other, each with one core; and its deadline.

    python benchmarks/sweep_throughput.py [--runs 20] [--epochs 20] [--time 2m]

writes results/sweep_throughput.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine

RESULTS = Path(__file__).parent / "results" / "sweep_throughput.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--epochs", default="20")
    parser.add_argument("--time", default="2m")
    args = parser.parse_args()
    result = {**vars(args), "machine": machine()}
    rates = ",".join(f"{0.05 * (1 + number):.2f}" for number in range(args.runs))
    common = ["--over", f"train.learning_rate={rates}", "--model", "convnet", "--width", "0.25", "--threads", "1"]
    for jobs in (2, 1):
        seconds = timed([*common, "--epochs", args.epochs, "--jobs", str(jobs)])
        result[f"seconds_{jobs}_at_a_time"] = round(seconds, 1)
    result["speedup"] = round(result["seconds_1_at_a_time"] / result["seconds_2_at_a_time"], 2)
    result["seconds_with_deadline"] = round(timed([*common, "--time", args.time, "--jobs", "2"]), 1)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def timed(words: list[str]) -> float:
    """Return the seconds of a sweep over the digits, from the start of its process to its end."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        command = [sys.executable, "-m", "shoestring", "sweep", "digits", *words, "--out", str(Path(folder) / "out")]
        subprocess.run([*command, "--quiet"], check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - start


if __name__ == "__main__":
    main()
