"""What other ways of training reach in the same time, on the same machine, in the same minutes.

    python benchmarks/peers.py DATA [--seconds 300] [--peer NAME ...] [--seeds 0 1 2]
    python benchmarks/peers.py --page docs/peers.md --readme README.md

DATA is CIFAR-10, as a folder of Parquet files or any other name that `shoestring train` takes. Each run is a process of
its own, its seconds from process start to exit; its row is added to results/peers.json at once, so it can be stopped
and gone on with. All peers come with the first seed before any comes with the second. The recipe of airbench94 has a
fixed number of epochs: it takes the time that it takes, and is measured once for all times.
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
USUAL = ("--optimizer", "sgd", "--grow", "constant")
FLAGS = {
    "shoestring": (),
    "ResNet-20, annealed to the deadline": ("--model", "resnet20", *USUAL),
    "ResNet-18, annealed to the deadline": ("--model", "resnet18", *USUAL),
    # its networks of 64, 256 and 256 filters, whitened, moved by Muon: without the choice of a width and the deadline
    FIXED: ("--model", "convnet", "--width", "1", "--precision", "bfloat16", "--epochs", "8"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--seconds", type=int, nargs="+", default=[300])
    parser.add_argument("--peer", nargs="+", choices=(*FLAGS, ONE_CYCLE), default=[*FLAGS, ONE_CYCLE])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--page", type=Path, help="write what has been measured into this page, between its markers")
    parser.add_argument("--readme", type=Path, help="write the short table of five minutes into this page")
    given = parser.parse_args()
    if given.page or given.readme:
        if given.page:
            fill(given.page, peers=table(ROWS.read()))
        if given.readme:
            fill(given.readme, peers_summary=best_of(ROWS.read(), 300))
    elif given.data is None:
        parser.error("DATA is needed to measure")
    else:
        for seconds in given.seconds:
            for seed in given.seeds:
                for peer in given.peer:
                    run(given.data, peer, 0 if peer == FIXED else seconds, seed)


def run(data: str, peer: str, seconds: int, seed: int) -> None:
    """Measure this row unless it is there already."""
    place = dict(zip(ROWS.key, (Path(data).name, peer, seconds, seed)))
    if ROWS.have(place):
        return
    if peer == ONE_CYCLE:
        row = place | one_cycle(data, seconds, seed)
    else:
        row = place | measure(Case((data, *FLAGS[peer]), seconds, verb="train"), seed)
    ROWS.put(row)
    print(*place.values(), f"{100 * row['accuracy']:.2f} %", f"{row['wall_seconds']} s", flush=True)


def one_cycle(data: str, seconds: int, seed: int) -> Row:
    """The script beside this one, as a process."""
    around = machine()
    command = [sys.executable, str(Path(__file__).parent / "onecycle.py"), data]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    options = ["--seconds", str(seconds), "--seed", str(seed)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(done.stdout.splitlines()[-1])
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    told = {"accuracy": found["accuracy"], "wall_seconds": round(wall, 2), "cpu_seconds": round(spent, 1)}
    return {**told, "training": {"steps": found["steps"], "epochs": found["epochs"]}, "machine": around}


def table(rows: list[Row]) -> str:
    """A line for each time and peer, the best first."""
    lines = ["| budget | what | runs | test accuracy | seconds taken | epochs |", "|---|---|---|---|---|---|"]
    for seconds in sorted({row["seconds"] for row in rows}, key=lambda asked: asked or float("inf")):
        mine = [row for row in rows if row["seconds"] == seconds]
        by_peer = {peer: [row for row in mine if row["peer"] == peer] for peer in {row["peer"] for row in mine}}
        best_first = sorted(by_peer, key=lambda peer: -_mean(by_peer[peer], "accuracy"))
        lines += [_line(seconds, peer, by_peer[peer]) for peer in best_first]
    return "\n".join(lines)


def best_of(rows: list[Row], seconds: int, count: int = 3) -> str:
    """The most accurate ways to spend this time: a line for each, its last column the number of runs."""
    mine = [row for row in rows if row["seconds"] == seconds]
    by_peer = {peer: [row for row in mine if row["peer"] == peer] for peer in {row["peer"] for row in mine}}
    best_first = sorted(by_peer, key=lambda peer: -_mean(by_peer[peer], "accuracy"))[:count]
    lines = ["| training | test accuracy | epochs | runs |", "|---|---|---|---|"]
    for peer in best_first:
        found = by_peer[peer]
        epochs = sum(row["training"]["epochs"] for row in found) / len(found)
        lines.append(f"| {peer} | {100 * _mean(found, 'accuracy'):.1f} % | {epochs:.1f} | {len(found)} |")
    return "\n".join(lines)


def _line(seconds: int, peer: str, found: list[Row]) -> str:
    spread = f" ± {half_interval([100 * row['accuracy'] for row in found]):.2f}" if len(found) > 1 else ""
    took = sorted(row["wall_seconds"] for row in found)
    asked = f"{seconds / 60:g} min" if seconds else "none"
    epochs = sum(row["training"]["epochs"] for row in found) / len(found)
    between = f"{took[0]:.0f}" if len(found) == 1 else f"{took[0]:.0f} to {took[-1]:.0f}"
    accuracy = f"{100 * _mean(found, 'accuracy'):.2f}{spread}"
    return f"| {asked} | {peer} | {len(found)} | {accuracy} | {between} | {epochs:.1f} |"


def _mean(found: list[Row], name: str) -> float:
    return sum(row[name] for row in found) / len(found)


if __name__ == "__main__":
    main()
