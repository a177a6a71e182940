"""Seconds to 94 % on CIFAR-10 on a CUDA device, beside airbench94_muon on the same device in the same minutes.

    python benchmarks/speedrun.py DATA --airbench FILE [--warm 3 3.5 4] [--cold 9] [--seeds 20]
    python benchmarks/speedrun.py --page docs/benchmarks.md

DATA is a folder of CIFAR-10 as Parquet, or any other name that `shoestring train` takes; FILE is airbench94_muon.py as
its author publishes it (KellerJordan/cifar10-airbench). `warm` and `cold` are the seconds that shoestring is given; of
the times for `warm`, those are left after five trainings that are clearly too short, and the first that suffices is
the last. Cold is from process start to exit: for shoestring the public command, its images decoded before; for the peer
until the first training of its process, with which it warms up, has ended. Warm is one training after another in one
process: for shoestring a call of `train` and evaluation, images brought to the device and all choices made anew; for
the peer its own clock, which counts neither images nor compilation. Rows are added to results/speedrun.json at once, so
it can be stopped and gone on with.
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
from measured import Row, Rows, fill
from shoestring import Budget, api, execute, load

ROWS = Rows("speedrun.json", ("what", "asked", "seed"))
COLD, WARM = "shoestring, from process start", "shoestring, warm"
PEER_COLD, PEER_WARM = "airbench94_muon, from process start", "airbench94_muon, warm"
FIRST = 8.0  # seconds of the training that does not count
WANTED, SHORT, TRIED = 0.94, 0.001, 5  # accuracy; what makes a time clearly too short, after so many trainings
PEER = """
import importlib, pathlib, sys, time
began, script, runs = float(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
sys.argv = sys.argv[2:]  # the script reads its own text by its name there
sys.path.insert(0, str(script.parent))
peer = importlib.import_module(script.stem)
network = peer.CifarNet().cuda().to(memory_format=peer.torch.channels_last)
network.compile(mode="max-autotune")
peer.main("warmup", network)
print("cold", time.time() - began)
for run in range(runs):
    peer.main(run, network)
"""
LAST = re.compile(r"\|\s+eval\s+\|.*?\|\s+([\d.]+)\s+\|\s+([\d.]+)\s+\|\s*$")  # accuracy and seconds of one training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--airbench", help="airbench94_muon.py")
    parser.add_argument("--warm", type=float, nargs="+", default=[3, 3.5, 4], help="seconds")
    parser.add_argument("--cold", type=float, default=9, help="seconds")
    parser.add_argument("--seeds", type=int, default=20, help="warm trainings of shoestring")
    parser.add_argument("--colds", type=int, default=5, help="cold trainings of shoestring")
    parser.add_argument("--peers", type=int, default=5, help="warm trainings of the peer")
    parser.add_argument("--page", type=Path, help="write what has been measured into this page, between its markers")
    given = parser.parse_args()
    if given.page:
        fill(given.page, speedrun=table(ROWS.read()))
        return
    if given.data is None:
        parser.error("DATA is needed to measure")
    for seconds in sorted(given.warm):
        if warm(given.data, seconds, given.seeds) >= WANTED:
            break
    if given.airbench:
        with tempfile.TemporaryDirectory() as folder:
            written(given.data, Path(folder))
            peer(Path(given.airbench).resolve(), Path(folder), given.peers)
    for seed in range(given.colds):
        place = {"what": COLD, "asked": given.cold, "seed": seed}
        if not ROWS.have(place):
            found = measure(Case((given.data,), given.cold, verb="train"), seed)
            note(place, found["wall_seconds"], found["accuracy"], training=found["training"], model=found["model"])


def note(place: Row, seconds: float, accuracy: float, **more: Any) -> None:
    ROWS.put({**place, "seconds": round(seconds, 3), "accuracy": accuracy, **more, **around()})
    print(*place.values(), f"{seconds:.2f} s", f"{100 * accuracy:.2f} %", flush=True)


def around() -> Row:
    return {"device": torch.cuda.get_device_name(), "machine": machine()}


def warm(data: str, seconds: float, seeds: int) -> float:
    """The mean accuracy of trainings in this process, after one that does not count."""
    images, found = load(data), []
    for seed in range(-1, seeds):
        place = {"what": WARM, "asked": seconds, "seed": seed}
        if not ROWS.have(place):
            began = time.monotonic()
            budget = Budget(seconds if seed >= 0 else FIRST, steps=("train",))
            model = api.train(images.train, budget=budget, seed=max(seed, 0))
            accuracy = execute.accuracy(model, images.test)
            took = time.monotonic() - began
            if seed < 0:
                continue
            note(place, took, accuracy, model=[model.name, model.options])
        found += [row["accuracy"] for row in ROWS.read() if all(row[name] == place[name] for name in ROWS.key)]
        if len(found) == TRIED and statistics.mean(found) < WANTED - SHORT:
            break
    return statistics.mean(found)


def written(data: str, folder: Path) -> None:
    """The images as the peer reads them: all of the train split, and the test split."""
    images = load(data)
    (folder / "cifar10").mkdir()
    for name, parts in (("train", (images.train, images.validation)), ("test", (images.test,))):
        pixels = torch.cat([torch.from_numpy(part.pixels.copy()) for part in parts])
        labels = torch.cat([torch.from_numpy(part.targets.copy()) for part in parts])
        torch.save({"images": pixels, "labels": labels, "classes": list(images.classes)}, folder / f"cifar10/{name}.pt")


def peer(script: Path, folder: Path, runs: int) -> None:
    """The peer from process start, and its trainings one after another."""
    place = {"what": PEER_COLD, "asked": 0, "seed": 0}
    if ROWS.have(place):
        return
    command = [sys.executable, "-c", PEER, str(time.time()), str(script), str(runs)]
    kept = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(folder / "compiled")}  # nothing from before
    lines = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, check=True).stdout
    cold, *_ = (line.split()[1] for line in lines.splitlines() if line.startswith("cold"))
    ended = [match for line in lines.splitlines() if (match := LAST.search(line))]
    note(place, float(cold), statistics.mean(float(match[1]) for match in ended[1:]))  # it warms up on random labels
    for seed, match in enumerate(ended[1:]):
        note({"what": PEER_WARM, "asked": 0, "seed": seed}, float(match[2]), float(match[1]))


def table(rows: list[Row]) -> str:
    """A line for each way of training."""
    lines = ["| device | what | seconds given | runs | test accuracy | seconds taken |", "|---|---|---|---|---|---|"]
    for device, what, asked in dict.fromkeys((row["device"], row["what"], row["asked"]) for row in rows):
        mine = [row for row in rows if (row["device"], row["what"], row["asked"]) == (device, what, asked)]
        accuracy, took = ([row[name] for row in mine] for name in ("accuracy", "seconds"))
        spread = f" ± {100 * half_interval(accuracy):.2f}" if len(mine) > 1 else ""
        mean = f"{100 * statistics.mean(accuracy):.2f}{spread}"
        lines.append(
            f"| {device} | {what} | {asked or 'all it takes'} | {len(mine)} | {mean} | {statistics.mean(took):.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
