"""Is a model on the way worth what a training of that time would have been?

    python benchmarks/anytime.py DATA [--seconds 300] [--seeds 0 1 2] [--shares 0.3 0.5 0.75]
    python benchmarks/anytime.py --page docs/benchmarks.md

Runs `shoestring train --schedule anytime` and copies its snapshot when these shares of the time are over; then, for
each share, trains with the deadline schedule for so many seconds only. DATA is a folder of CIFAR-10 as Parquet, or any
other name that `shoestring train` takes. Rows are added to results/anytime.json at once, so it can be stopped and gone
on with.
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

ROWS = Rows("anytime.json", ("data", "seconds", "share", "seed"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.3, 0.5, 0.75])
    parser.add_argument("--page", type=Path, help="write what has been measured into this page, between its markers")
    given = parser.parse_args()
    if given.page:
        fill(given.page, anytime=table(ROWS.read()))
    elif given.data is None:
        parser.error("DATA is needed to measure")
    else:
        for seed in given.seeds:
            run(given.data, given.seconds, given.shares, seed)


def run(data: str, seconds: int, shares: list[float], seed: int) -> None:
    """Measure the rows of one seed unless they are there already."""
    places = [dict(zip(ROWS.key, (Path(data).name, seconds, share, seed))) for share in shares]
    places = [place for place in places if not ROWS.have(place)]
    if not places:
        return
    with tempfile.TemporaryDirectory(prefix="shoestring-benchmark-") as folder:
        around = machine()
        found, end = on_the_way(data, seconds, [place["share"] for place in places], seed, Path(folder))
        for place, accuracy in zip(places, found):
            alone = measure(Case((data,), round(place["share"] * seconds), verb="train"), seed)
            row = place | {"accuracy": accuracy, "alone": alone["accuracy"], "end": end, "machine": around}
            ROWS.put(row)
            print(*place.values(), f"{100 * accuracy:.2f} % on the way, {100 * row['alone']:.2f} % alone", flush=True)


def on_the_way(data: str, seconds: int, shares: list[float], seed: int, folder: Path) -> tuple[list[float], float]:
    """Accuracy of the snapshots at these shares of one training, and of its end."""
    began, out = time.monotonic(), folder / "run"
    options = ["--time", f"{seconds}s", "--schedule", "anytime", "--seed", str(seed), "--out", str(out)]
    process = subprocess.Popen(
        shoestring("train", data, *options, "--json", "--quiet"), stdout=subprocess.PIPE, text=True
    )
    copies = []
    for share in shares:
        time.sleep(max(began + share * seconds - time.monotonic(), 0))
        copies.append(copied(out / "train" / "snapshot", folder / f"at-{share}"))
    told, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the training ended with {process.returncode}")
    return [evaluated(copy, data) for copy in copies], json.loads(told)["accuracy"]


def copied(snapshots: Path, to: Path) -> Path:
    """A copy of the newest snapshot; once more where it was replaced meanwhile."""
    for _ in range(5):
        newest = max((one for one in snapshots.iterdir() if one.name.isdigit()), key=lambda one: int(one.name))
        try:
            return shutil.copytree(newest, to)
        except (FileNotFoundError, shutil.Error):
            shutil.rmtree(to, ignore_errors=True)
    raise RuntimeError(f"no snapshot could be copied from {snapshots}")


def evaluated(model: Path, data: str) -> float:
    done = subprocess.run(
        shoestring("evaluate", str(model), "--on", data, "--json"), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)["accuracy"]


def shoestring(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "shoestring", *arguments]


def table(rows: list[Row]) -> str:
    """A line for each time and share."""
    lines = ["| budget | fraction spent | runs | snapshot | training of that time | difference |", "|---" * 6 + "|"]
    for seconds, share in sorted({(row["seconds"], row["share"]) for row in rows}):
        mine = [row for row in rows if (row["seconds"], row["share"]) == (seconds, share)]
        own, alone = (100 * sum(row[name] for row in mine) / len(mine) for name in ("accuracy", "alone"))
        apart = [100 * (row["accuracy"] - row["alone"]) for row in mine]
        spread = f" ± {half_interval(apart):.2f}" if len(mine) > 1 else ""
        line = [
            f"{seconds} s",
            f"{100 * share:g} %",
            len(mine),
            f"{own:.2f}",
            f"{alone:.2f}",
            f"{own - alone:+.2f}{spread}",
        ]
        lines.append(f"| {' | '.join(map(str, line))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
