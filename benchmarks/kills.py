"""Is there always a model? Trainings of the digits, killed at random moments: each must leave one that can be used.

    python benchmarks/kills.py [--times 50] [--seconds 14] [--jobs 2]

A training is killed (SIGKILL) at a random moment after a tenth of its time; the first seconds go into starting Python
and loading, so a row says how far the training itself was. results/kills.json holds a row for each kill.
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
    given = parser.parse_args()
    around, moments = machine(), random.Random(0)
    plan = [(number, moments.uniform(0.1, 1.0)) for number in range(given.times)]
    with ThreadPoolExecutor(given.jobs) as pool:
        found = list(pool.map(lambda one: killed(*one, given.seconds), plan))
    counted = [row for row in found if row["fraction"] >= 0.1]
    summary = {"kills": len(found), "in_training": len(counted), "with_a_model": sum(row["model"] for row in counted)}
    RESULTS.write_text(
        json.dumps({**summary, "seconds": given.seconds, "rows": found, "machine": around}, indent=1) + "\n"
    )
    print(json.dumps(summary))


def killed(number: int, share: float, seconds: float) -> dict[str, Any]:
    """One training, killed at this share of its time; and what it left."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        words = ["train", "digits", "--time", f"{seconds}s", "--seed", str(number), "--out", str(out), "--quiet"]
        process = subprocess.Popen(
            [sys.executable, "-m", "shoestring", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(share * seconds)
        process.kill()
        process.wait()
        history = RunDir(out).history() if out.exists() else []
        fraction = max((row["fraction"] for row in history if row.get("step") == "train"), default=0.0)
        row: dict[str, Any] = {"share": round(share, 3), "fraction": fraction, "model": False}
        try:
            row["validation"] = round(accuracy(usable_model(out, str), load("digits").validation), 4)
            row["model"] = True
        except Exception as error:
            row["error"] = f"{type(error).__name__}: {error}".replace(str(out), "RUN")
        return row


if __name__ == "__main__":
    main()
