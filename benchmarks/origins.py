"""The recipes in recipes/origins/ on their data, beside the published accuracies; each row is one run.

    python benchmarks/origins.py --data cifar10=FOLDER --data scenes=FOLDER [--only mini] [--arm VGG-8] [--seeds 3]
        [--device cuda] [--scale 0.1] [--backbone timm:tf_efficientnet_lite0] [--weights FILE] [FLAGS]
    python benchmarks/origins.py --page docs/origins.md

The data sets are cifar10, cifar100, fashionmnist, tinyimagenet (as it is distributed) and scenes; rows of those that
are not given are skipped. The first command adds rows to results/origins.json, each as soon as it is measured; finished
rows are kept, and runs are in the folder `--work`. `--scale 0.1` takes a tenth of the epochs, of the proxy's, and of
the times, and further FLAGS are those of `shoestring run`. `--backbone` takes another pretrained network in place of
those of timm, and a small proxy; `--weights` are those of ResNet-20 for CIFAR-10, whose filters are clustered in place
of those of one that is trained first. `--device cuda` has the time budgets of a large GPU. The second command
writes the tables.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import threading
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from machine import machine
from measured import Row, Rows, fill
from origins_arms import ARMS, FILTERS, PUBLISHED_FILTERS, Arm
from origins_filters import given_network, measure_filters
from origins_page import blocks
from origins_words import RECIPES, Options, data_of, signals_of, words_of

KEY = ("origin", "recipe", "arm", "data", "network", "device", "scale", "backbone", "flags", "seed")
ROWS = Rows("origins.json", KEY)
_LOCK = threading.Lock()  # of the file of results
KEPT = ("accuracy", "interval", "validation", "examples", "select", "model", "params", "macs", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", default=[], metavar="NAME=DATA", help="a data set, several times")
    parser.add_argument("--only", help="an origin: coreset, mini, filters, progressive or scenes")
    parser.add_argument("--arm", default="", help="rows whose name contains this")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of each row (default: 1)")
    parser.add_argument("--jobs", type=int, default=1, help="rows at a time that count epochs (default: 1)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the epochs and times")
    parser.add_argument("--backbone", help="network in place of those of timm")
    parser.add_argument("--weights", type=Path, help="resnet20_cifar10.safetensors")
    parser.add_argument("--work", type=Path, default=Path("runs/origins"), help="folder of the runs")
    parser.add_argument("--page", type=Path, help="write the tables into this page, between its markers")
    args, flags = parser.parse_known_args()
    if args.page:
        fill(args.page, **blocks(ROWS.read()))
        return
    folders = dict(text.split("=", 1) for text in args.data)
    where = args.device, args.scale, args.backbone, args.weights, args.work, tuple(flags)
    options = Options(folders, *where)
    arms = [arm for arm in ARMS if args.only in (None, arm.origin) and args.arm in arm.name]
    for seed in range(args.seeds):
        if args.only in (None, "filters"):
            run_filters(options, args.arm, seed)
        run_all(arms, options, seed, jobs=args.jobs)


def run_all(arms: Sequence[Arm], options: Options, seed: int, *, jobs: int) -> None:
    """Measure the rows of these arms: those that count epochs several at a time, those with a time alone."""
    counted = [arm for arm in arms if arm.times is None]
    signals = {arm: signals_of(arm, options, seed) for arm in counted}
    first = {file: arm for arm, file in reversed(signals.items()) if file}  # trains the proxy for the others
    for stage in (
        [arm for arm in counted if arm in first.values()],
        [arm for arm in counted if arm not in first.values()],
    ):
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(partial(run, options=options, seed=seed), stage))
    for arm in arms:
        if arm.times is not None:
            run(arm, options, seed)


def run(arm: Arm, options: Options, seed: int) -> None:
    """Measure the row of an arm if it is missing; say so if there is no data for it."""
    data = data_of(arm)
    if data not in options.data:
        print(f"skipped: {arm.origin}, {arm.name}: give --data {data}=FOLDER", flush=True)
        return
    if options.backbone and arm.twin:
        print(f"skipped: {arm.origin}, {arm.name}: with --backbone it is the same as {arm.twin}", flush=True)
        return
    row = options.row(arm.origin, arm.recipe, arm.name, data, seed)
    if ROWS.have(row):
        return
    hardware = machine()
    try:
        measured = measure(arm, options, seed)
    except subprocess.CalledProcessError as error:  # such as for weights that cannot be downloaded
        print(f"failed: {arm.origin}, {arm.name}, with exit code {error.returncode}", flush=True)
        return
    put({**row, "published": arm.published, **measured, "machine": hardware})


def put(row: Row) -> None:
    with _LOCK:
        ROWS.put(row)
    print(row["origin"], row["arm"], row["data"], f"seed {row['seed']}: {100 * row['accuracy']:.2f} %", flush=True)


def measure(arm: Arm, options: Options, seed: int) -> dict[str, Any]:
    """Run an arm in its own process; return its command, its results, and the epochs of its training."""
    words = words_of(arm, options, seed)
    name = f"{arm.recipe or arm.origin} {arm.name} {zlib.crc32(' '.join(words).encode()):08x}"
    out = options.work / re.sub(r"\W+", "-", name)
    command = [sys.executable, "-m", "shoestring", *words, "--out", str(out), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(done.stdout)
    shown = ["shoestring", arm.verb, data_of(arm), *words[2:]]
    files = {str(options.work): "runs/origins", str(RECIPES): "recipes/origins"}
    for path, name in files.items():
        shown = [word.replace(path, name) for word in shown]
    row = {"command": shown, **{name: result.get(name) for name in KEPT}}
    if arm.verb == "tickets":
        dense = next(entry for entry in result["summary"] if entry["network"] == "dense")
        return {**row, "accuracy": dense["mean"], "tickets": result["summary"]}
    classes = {name: entry["recall"] for name, entry in result["per_class"].items()}
    training = json.loads((out / "run.json").read_text())["training"]
    return {**row, "per_class": classes, "budget": result["budget"], "epochs": training["epochs"]}


def run_filters(options: Options, containing: str, seed: int) -> None:
    """Measure the rows of clustered filters that are missing, of the given network or of one that is trained."""
    if "cifar10" not in options.data:
        print("skipped: filters: give --data cifar10=FOLDER", flush=True)
        return
    from shoestring import Model, load
    from shoestring.runtime.context import prepare

    context, model = prepare(device=options.device, seed=seed), None
    network = "given" if options.weights else "trained"
    for name, settings in FILTERS.items():
        row = {**options.row("filters", "filter-pruning", name, "cifar10", seed), "network": network}
        if ROWS.have(row) or containing not in name:
            continue
        hardware, data = machine(), load(options.data["cifar10"])
        if model is None and options.weights:
            model = given_network(options.weights, data.classes)
        elif model is None:
            model = Model.load(train_network(options, seed))
        model.module.to(context.device)
        epochs = {"epochs": options.scale * settings["epochs"]} if "epochs" in settings else {}
        measured = measure_filters(model, data, {**settings, **epochs}, context)
        put({**row, "published": PUBLISHED_FILTERS.get(name), **measured, "machine": hardware})


def train_network(options: Options, seed: int) -> Path:
    """Train ResNet-20 by its recipe, if that is not done; return the folder of the run."""
    arm = Arm("filters", "filter-pruning", "trained", verb="train")
    out = options.work / f"resnet20-{options.scale:g}-{seed}"
    words = [*words_of(arm, options, seed), "--out", str(out), "--quiet"]
    subprocess.run([sys.executable, "-m", "shoestring", *words], stdout=subprocess.DEVNULL, check=True)
    return out


if __name__ == "__main__":
    main()
