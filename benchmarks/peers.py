"""Accuracy of other training recipes in the same time on the same machine.

    python benchmarks/peers.py DATA [--seconds 300] [--peer NAME ...] [--seeds 0 1 2]
    python benchmarks/peers.py --page docs/peers.md --readme README.md

DATA is CIFAR-10, as a folder of Parquet files or any other data set that `shoestring train` accepts. Each run is a
separate process, timed from start to exit; its row is saved to results/peers.json at once, so the benchmark can be
interrupted and resumed. All peers run with one seed before the next. The recipe of airbench94 has a fixed number of
epochs, so it is measured once for all times.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from commands import Case, measure
from intervals import half_interval
from machine import machine
from measured import Row, Rows, fill

ROWS = Rows("peers.json", ("data", "peer", "seconds", "seed"))

ONE_CYCLE = "ResNet-18, one cycle"
FIXED = "airbench94's recipe, 8 epochs"
BASELINE = ("--optimizer", "sgd", "--grow", "constant")
FLAGS = {
    "shoestring": (),
    "ResNet-20, annealed to the deadline": ("--model", "resnet20", *BASELINE),
    "ResNet-18, annealed to the deadline": ("--model", "resnet18", *BASELINE),
    # its network: 64, 256 and 256 filters, whitening, Muon; no choice of width and no deadline
    FIXED: ("--model", "convnet", "--width", "1", "--precision", "bfloat16", "--epochs", "8"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--seconds", type=int, nargs="+", default=[300])
    parser.add_argument("--peer", nargs="+", choices=(*FLAGS, ONE_CYCLE), default=[*FLAGS, ONE_CYCLE])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--page", type=Path, help="write the table into this page, between its markers")
    parser.add_argument("--readme", type=Path, help="write the short table for five minutes into this page")
    args = parser.parse_args()
    if args.page or args.readme:
        if args.page:
            fill(args.page, peers=table(ROWS.read()))
        if args.readme:
            fill(args.readme, peers_summary=best_of(ROWS.read(), 300))
    elif args.data is None:
        parser.error("DATA is needed to measure")
    else:
        for seconds in args.seconds:
            for seed in args.seeds:
                for peer in args.peer:
                    run(args.data, peer, 0 if peer == FIXED else seconds, seed)


def run(data: str, peer: str, seconds: int, seed: int) -> None:
    """Measure this row if it is missing."""
    key = dict(zip(ROWS.key, (Path(data).name, peer, seconds, seed)))
    if ROWS.have(key):
        return
    if peer == ONE_CYCLE:
        row = key | one_cycle(data, seconds, seed)
    else:
        row = key | measure(Case((data, *FLAGS[peer]), seconds, verb="train"), seed)
    ROWS.put(row)
    print(*key.values(), f"{100 * row['accuracy']:.2f} %", f"{row['wall_seconds']} s", flush=True)


def one_cycle(data: str, seconds: int, seed: int) -> Row:
    """Run onecycle.py in its own process."""
    hardware = machine()
    command = [sys.executable, str(Path(__file__).parent / "onecycle.py"), data]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    options = ["--seconds", str(seconds), "--seed", str(seed)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    result = json.loads(done.stdout.splitlines()[-1])
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    summary = {"accuracy": result["accuracy"], "wall_seconds": round(wall, 2), "cpu_seconds": round(spent, 1)}
    return {**summary, "training": {"steps": result["steps"], "epochs": result["epochs"]}, "machine": hardware}


def table(rows: list[Row]) -> str:
    """Return a Markdown table with a line for each time and peer, the best first."""
    lines = ["| budget | what | runs | test accuracy | seconds taken | epochs |", "|---|---|---|---|---|---|"]
    for seconds in sorted({row["seconds"] for row in rows}, key=lambda asked: asked or float("inf")):
        group = [row for row in rows if row["seconds"] == seconds]
        by_peer = {peer: [row for row in group if row["peer"] == peer] for peer in {row["peer"] for row in group}}
        best_first = sorted(by_peer, key=lambda peer: -_mean(by_peer[peer], "accuracy"))
        lines += [_line(seconds, peer, by_peer[peer]) for peer in best_first]
    return "\n".join(lines)


def best_of(rows: list[Row], seconds: int, count: int = 3) -> str:
    """Return a Markdown table of the most accurate recipes for this time; the last column is the number of runs."""
    group = [row for row in rows if row["seconds"] == seconds]
    by_peer = {peer: [row for row in group if row["peer"] == peer] for peer in {row["peer"] for row in group}}
    best_first = sorted(by_peer, key=lambda peer: -_mean(by_peer[peer], "accuracy"))[:count]
    lines = ["| training | test accuracy | epochs | runs |", "|---|---|---|---|"]
    for peer in best_first:
        runs = by_peer[peer]
        epochs = sum(row["training"]["epochs"] for row in runs) / len(runs)
        lines.append(f"| {peer} | {100 * _mean(runs, 'accuracy'):.1f} % | {epochs:.1f} | {len(runs)} |")
    return "\n".join(lines)


def _line(seconds: int, peer: str, rows: list[Row]) -> str:
    spread = f" ± {half_interval([100 * row['accuracy'] for row in rows]):.2f}" if len(rows) > 1 else ""
    times = sorted(row["wall_seconds"] for row in rows)
    asked = f"{seconds / 60:g} min" if seconds else "none"
    epochs = sum(row["training"]["epochs"] for row in rows) / len(rows)
    between = f"{times[0]:.0f}" if len(rows) == 1 else f"{times[0]:.0f} to {times[-1]:.0f}"
    accuracy = f"{100 * _mean(rows, 'accuracy'):.2f}{spread}"
    return f"| {asked} | {peer} | {len(rows)} | {accuracy} | {between} | {epochs:.1f} |"


def _mean(rows: list[Row], name: str) -> float:
    return sum(row[name] for row in rows) / len(rows)


if __name__ == "__main__":
    main()
