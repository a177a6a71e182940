"""Seconds to 94 % on CIFAR-10 on a CUDA device, beside airbench94_muon on the same device in the same minutes.

    python benchmarks/speedrun.py DATA --airbench FILE --warm 2.5 --cold 8 [--seeds 20]
    python benchmarks/speedrun.py --table

DATA is a folder of CIFAR-10 as Parquet, or any other name that `shoestring train` takes; FILE is airbench94_muon.py as
its author publishes it (KellerJordan/cifar10-airbench). `warm` and `cold` are the seconds that shoestring is given.
Cold is from process start to exit: for shoestring the public command, its images decoded before; for the peer a process
that makes its network, compiles and trains it once, with and without what the compiler remembers of a process before.
Warm is one training after another in one process: for shoestring a call of `train` and the evaluation, images brought
to the device and all choices made anew; for the peer its own clock, which does not count images and compilation. Rows
are added to results/speedrun.json at once, so it can be stopped and gone on with.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from commands import Case, measure
from intervals import half_interval
from machine import machine
from measured import Row, Rows
from shoestring import Budget, load, steps

ROWS = Rows("speedrun.json", ("what", "asked", "seed"))
COLD, WARM = "shoestring, from process start", "shoestring, warm"
PEER_COLD, PEER_AGAIN, PEER_WARM = (
    f"airbench94_muon, {how}" for how in ("from process start", "from process start, compiled before", "warm")
)
AGAIN = 3  # processes of the peer whose compiler remembers
ONE = """
import importlib, pathlib, sys
sys.argv = sys.argv[1:]  # the script reads its own text by its name there
script = pathlib.Path(sys.argv[0])
sys.path.insert(0, str(script.parent))
peer = importlib.import_module(script.stem)
network = peer.CifarNet().cuda().to(memory_format=peer.torch.channels_last)
network.compile(mode="max-autotune")
"""
ONCE = ONE + "print('accuracy', peer.main(0, network))"
MANY = ONE + "peer.main('warmup', network)\nfor run in range(int(sys.argv[1])): peer.main(run, network)"
LAST = re.compile(r"\|\s+eval\s+\|.*?\|\s+([\d.]+)\s+\|\s+([\d.]+)\s+\|\s*$")  # accuracy and seconds of one training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--airbench", help="airbench94_muon.py")
    parser.add_argument("--warm", type=float, default=2.5, help="seconds")
    parser.add_argument("--cold", type=float, default=8, help="seconds")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--table", action="store_true", help="print what has been measured")
    given = parser.parse_args()
    if given.table:
        print(table(ROWS.read()))
        return
    if given.data is None:
        parser.error("DATA is needed to measure")
    warm(given.data, given.warm, given.seeds)
    if given.airbench:
        with tempfile.TemporaryDirectory() as folder:
            written(given.data, Path(folder))
            peer(Path(given.airbench).resolve(), Path(folder), given.seeds)
    for seed in range(given.seeds):
        place = {"what": COLD, "asked": given.cold, "seed": seed}
        if not ROWS.have(place):
            found = measure(Case((given.data,), given.cold, verb="train"), seed)
            note(place, found["wall_seconds"], found["accuracy"], training=found["training"])


def note(place: Row, seconds: float, accuracy: float, **more: Any) -> None:
    ROWS.put({**place, "seconds": round(seconds, 3), "accuracy": accuracy, **more, **around()})
    print(*place.values(), f"{seconds:.2f} s", f"{100 * accuracy:.2f} %", flush=True)


def around() -> Row:
    return {"device": torch.cuda.get_device_name(), "machine": machine()}


def warm(data: str, seconds: float, seeds: int) -> None:
    """Trainings in this process, after one that does not count."""
    images = load(data)
    for seed in range(-1, seeds):
        place = {"what": WARM, "asked": seconds, "seed": seed}
        if ROWS.have(place):
            continue
        began = time.monotonic()
        model = steps.train(images.train, budget=Budget(seconds, steps=("train",)), seed=max(seed, 0))
        accuracy = steps.accuracy(model, images.test)
        took = time.monotonic() - began
        if seed >= 0:
            note(place, took, accuracy)


def written(data: str, folder: Path) -> None:
    """The images as the peer reads them: all of the train split, and the test split."""
    images = load(data)
    (folder / "cifar10").mkdir()
    for name, parts in (("train", (images.train, images.validation)), ("test", (images.test,))):
        pixels = torch.cat([torch.from_numpy(part.pixels.copy()) for part in parts])
        labels = torch.cat([torch.from_numpy(part.targets.copy()) for part in parts])
        torch.save({"images": pixels, "labels": labels, "classes": list(images.classes)}, folder / f"cifar10/{name}.pt")


def peer(script: Path, folder: Path, seeds: int) -> None:
    """The peer from process start, without and with what was compiled before, and its trainings one after another."""

    def run(what: str, *arguments: str) -> str:
        command = [sys.executable, "-c", what, str(script), *arguments]
        kept = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(folder / "compiled")}
        done = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, check=True)
        return done.stdout

    for number in range(1 + AGAIN):
        place = {"what": PEER_AGAIN if number else PEER_COLD, "asked": 0, "seed": number}
        if not ROWS.have(place):
            began = time.monotonic()
            told = run(ONCE)
            note(place, time.monotonic() - began, float(told.split()[-1]))
    if not ROWS.have({"what": PEER_WARM, "asked": 0, "seed": seeds - 1}):
        ended = [match for line in run(MANY, str(seeds)).splitlines() if (match := LAST.search(line))]
        for seed, match in enumerate(ended[-seeds:]):  # the first is the one that warms up
            note({"what": PEER_WARM, "asked": 0, "seed": seed}, float(match[2]), float(match[1]))


def table(rows: list[Row]) -> str:
    """A line for each way of training."""
    lines = ["| device | what | runs | test accuracy | seconds |", "|---|---|---|---|---|"]
    for device, what, asked in dict.fromkeys((row["device"], row["what"], row["asked"]) for row in rows):
        mine = [row for row in rows if (row["device"], row["what"], row["asked"]) == (device, what, asked)]
        accuracy, took = ([row[name] for row in mine] for name in ("accuracy", "seconds"))
        spread = f" ± {100 * half_interval(accuracy):.2f}" if len(mine) > 1 else ""
        mean = f"{100 * statistics.mean(accuracy):.2f}{spread}"
        lines.append(f"| {device} | {what} | {len(mine)} | {mean} | {statistics.mean(took):.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
