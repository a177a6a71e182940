"""Accuracy of the snapshots of anytime training, compared with training for exactly that long.

    python benchmarks/anytime.py DATA [--seconds 300] [--seeds 0 1 2] [--fractions 0.3 0.5 0.75]
    python benchmarks/anytime.py --page docs/benchmarks.md

Run `shoestring train --schedule anytime` and copy its snapshot at these fractions of the time; then, for each fraction,
train with the deadline schedule for that time only. DATA is a folder of CIFAR-10 as Parquet, or any other data set that
`shoestring train` accepts. Each row is saved to results/anytime.json at once, so the benchmark can be interrupted and
resumed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from commands import Case, measure
from intervals import half_interval
from machine import machine
from measured import Row, Rows, fill

ROWS = Rows("anytime.json", ("data", "seconds", "fraction", "seed"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.3, 0.5, 0.75])
    parser.add_argument("--page", type=Path, help="write the table into this page, between its markers")
    args = parser.parse_args()
    if args.page:
        fill(args.page, anytime=table(ROWS.read()))
    elif args.data is None:
        parser.error("DATA is needed to measure")
    else:
        for seed in args.seeds:
            run(args.data, args.seconds, args.fractions, seed)


def run(data: str, seconds: int, fractions: list[float], seed: int) -> None:
    """Measure the rows of one seed that are missing."""
    keys = [dict(zip(ROWS.key, (Path(data).name, seconds, fraction, seed))) for fraction in fractions]
    keys = [key for key in keys if not ROWS.have(key)]
    if not keys:
        return
    with tempfile.TemporaryDirectory(prefix="shoestring-benchmark-") as folder:
        hardware = machine()
        accuracies, end = snapshot_accuracies(data, seconds, [key["fraction"] for key in keys], seed, Path(folder))
        for key, accuracy in zip(keys, accuracies):
            alone = measure(Case((data,), round(key["fraction"] * seconds), verb="train"), seed)
            row = key | {"accuracy": accuracy, "alone": alone["accuracy"], "end": end, "machine": hardware}
            ROWS.put(row)
            print(*key.values(), f"{100 * accuracy:.2f} % snapshot, {100 * row['alone']:.2f} % alone", flush=True)


def snapshot_accuracies(
    data: str, seconds: int, fractions: list[float], seed: int, folder: Path
) -> tuple[list[float], float]:
    """Return the accuracy of the snapshots at these fractions of one training, and its final accuracy."""
    start, out = time.monotonic(), folder / "run"
    options = ["--time", f"{seconds}s", "--schedule", "anytime", "--seed", str(seed), "--out", str(out)]
    process = subprocess.Popen(
        shoestring("train", data, *options, "--json", "--quiet"), stdout=subprocess.PIPE, text=True
    )
    copies = []
    for fraction in fractions:
        time.sleep(max(start + fraction * seconds - time.monotonic(), 0))
        copies.append(copy_newest(out / "train" / "snapshot", folder / f"at-{fraction}"))
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the training ended with {process.returncode}")
    return [evaluate(copy, data) for copy in copies], json.loads(output)["accuracy"]


def copy_newest(snapshots: Path, to: Path) -> Path:
    """Copy the newest snapshot; retry if it is replaced meanwhile."""
    for _ in range(5):
        newest = max((one for one in snapshots.iterdir() if one.name.isdigit()), key=lambda one: int(one.name))
        try:
            return shutil.copytree(newest, to)
        except (FileNotFoundError, shutil.Error):
            shutil.rmtree(to, ignore_errors=True)
    raise RuntimeError(f"no snapshot could be copied from {snapshots}")


def evaluate(model: Path, data: str) -> float:
    done = subprocess.run(
        shoestring("evaluate", str(model), "--on", data, "--json"), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)["accuracy"]


def shoestring(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "shoestring", *arguments]


def table(rows: list[Row]) -> str:
    """Return a Markdown table with a line for each time and fraction."""
    lines = ["| budget | fraction spent | runs | snapshot | training of that time | difference |", "|---" * 6 + "|"]
    for seconds, fraction in sorted({(row["seconds"], row["fraction"]) for row in rows}):
        group = [row for row in rows if (row["seconds"], row["fraction"]) == (seconds, fraction)]
        own, alone = (100 * sum(row[name] for row in group) / len(group) for name in ("accuracy", "alone"))
        differences = [100 * (row["accuracy"] - row["alone"]) for row in group]
        spread = f" ± {half_interval(differences):.2f}" if len(group) > 1 else ""
        line = [
            f"{seconds} s",
            f"{100 * fraction:g} %",
            len(group),
            f"{own:.2f}",
            f"{alone:.2f}",
            f"{own - alone:+.2f}{spread}",
        ]
        lines.append(f"| {' | '.join(map(str, line))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
