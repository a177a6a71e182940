"""Timed runs of two checkouts of the project in turns: accuracy, and images trained, in the same time.

    python benchmarks/checkouts.py OLD_CHECKOUT DATA [--new CHECKOUT] [--seconds 60] [--seeds 5] [ARGUMENT ...]
    python benchmarks/checkouts.py --table

Each run is a process of its own, `shoestring run DATA --time SECONDS ARGUMENT ...`. Both checkouts train with the same
seeds, so that their differences are paired; which goes first alternates. `--model convnet` is trained from scratch in
either. Each row is saved to results/checkouts.json at once. Between checkouts with other results, `tests/golden.py`
compares runs whose work is counted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scipy import stats

from machine import machine
from measured import Row, Rows

ROWS = Rows("checkouts.json", ("checkout", "command", "seed"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", nargs="?", type=Path)
    parser.add_argument("data", nargs="?")
    parser.add_argument("--new", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--table", action="store_true", help="print a table of the results")
    args, words = parser.parse_known_args()
    if args.table:
        print(table(ROWS.read()))
        return
    for seed in range(args.seeds):
        checkouts = {"old": args.old, "new": args.new}
        for name in sorted(checkouts, reverse=seed % 2 == 1):
            row = {"checkout": name} | measure(checkouts[name], args.data, ["--time", f"{args.seconds}s", *words], seed)
            ROWS.put(row)
            print(name, row["commit"], seed, row["wall_seconds"], row["accuracy"], row["images"], flush=True)


def measure(checkout: Path, data: str, words: list[str], seed: int) -> Row:
    """Run one command of a checkout; return its seconds, its accuracy, and how many images it trained on."""
    hardware, start = machine(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="shoestring-benchmark-") as folder:
        out = Path(folder, "run")
        command = ["run", data, *words, "--seed", str(seed), "--out", str(out), "--json", "--quiet"]
        done = subprocess.run(
            [sys.executable, "-m", "shoestring", *command],
            env=os.environ | {"PYTHONPATH": str(checkout / "src")},
            cwd=folder,
            capture_output=True,
            check=True,
        )
        wall = time.monotonic() - start
        training = json.loads((out / "run.json").read_text())["training"]
    commit = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    )
    return {
        "commit": commit.stdout.strip(),
        "command": " ".join(["shoestring run", Path(data).name, *words]),
        "seed": seed,
        "wall_seconds": round(wall, 2),
        "accuracy": json.loads(done.stdout)["accuracy"],
        "images": training["steps"] * training["batch_size"],
        "training": training,
        "machine": hardware,
    }


def table(rows: list[Row]) -> str:
    """Return a Markdown table: means of each checkout, and the paired difference with its 95 % interval."""
    lines = ["| command | checkout | accuracy | images trained | seconds |", "|---|---|--:|--:|--:|"]
    for command in dict.fromkeys(row["command"] for row in rows):
        of = [row for row in rows if row["command"] == command]
        for checkout in ("old", "new"):
            own = [row for row in of if row["checkout"] == checkout]
            accuracy, images, seconds = (
                statistics.mean(row[name] for row in own) for name in ("accuracy", "images", "wall_seconds")
            )
            cells = f"{checkout} ({own[-1]['commit']}) | {100 * accuracy:.2f} % | {images:,.0f} | {seconds:.1f}"
            lines.append(f"| {command} | {cells} |")
        lines.append(f"| {command} | difference | {_paired(of, 'accuracy', 100)} points | {_paired(of, 'images')} | |")
    return "\n".join(lines)


def _paired(rows: list[Row], name: str, scale: float = 1) -> str:
    """Return the mean difference of the new checkout from the old one over the seeds, with its 95 % interval."""
    pairs: dict[int, dict[str, float]] = {}
    for row in rows:
        pairs.setdefault(row["seed"], {})[row["checkout"]] = row[name]
    differences = [scale * (pair["new"] - pair["old"]) for pair in pairs.values() if len(pair) == 2]
    mean = statistics.mean(differences)
    half = stats.t.ppf(0.975, len(differences) - 1) * statistics.stdev(differences) / len(differences) ** 0.5
    return f"{mean:+,.2f} ({mean - half:+,.2f} to {mean + half:+,.2f})"


if __name__ == "__main__":
    main()
