"""Does growing pay? The same network, grown or not, and smaller ones, for equal seconds from process start to exit.

    python benchmarks/growth_ablation.py DATA [--seconds 300] [--network NAME ...] [--arm NAME ...] [--seeds 0 1 2]
        [--here]
    python benchmarks/growth_ablation.py --page docs/growth.md

DATA is a folder of CIFAR-10 as Parquet, or any other name that `shoestring train` takes. Each run is a process of its
own; its row is added to results/growth_ablation.json at once, so it can be stopped and resumed. All arms
of a network come with the first seed before any comes with the second, so what is compared was measured in the same
minutes. With `--here` one training after another is done in this process, and the seconds are those of training alone:
for accelerators, on which starting a process takes longer than some trainings.
"""

from __future__ import annotations

import argparse
import functools
import time
from dataclasses import asdict
from pathlib import Path

from commands import Case, measure
from intervals import half_interval
from machine import machine
from measured import Row, Rows, fill
from planned_training import train
from shoestring import Budget, execute, load
from shoestring.config.recipe import Grow, Train
from shoestring.runtime import context

ROWS = Rows("growth_ablation.json", ("data", "network", "arm", "asked_seconds", "seed"))

ONE_VIEW = ("--tta", "one")  # two cores look at a few hundred images a second
HALF = "resnet18, width 0.5"
NETWORKS = {
    "convnet": ("--model", "convnet", "--width", "0.5"),
    "resnet18": ("--model", "resnet18", *ONE_VIEW),
    HALF: ("--model", "resnet18", "--width", "0.5", *ONE_VIEW),
}
GROWTH = {
    "constant": ("--grow", "constant"),
    "resolution": ("--grow", "resolution"),
    "width": ("--grow", "width"),
    "resolution, width": ("--grow", "resolution,width"),
    "depth": ("--grow", "depth"),
    "resolution, width, depth": ("--grow", "resolution,width,depth"),
}
SMALLER = {
    "convnet": {"smaller: width 0.25": ("--model", "convnet", "--width", "0.25")},
    "resnet18": {
        "smaller: width 0.5": ("--model", "resnet18", "--width", "0.5", *ONE_VIEW),
        "smaller: width 0.25": ("--model", "resnet18", "--width", "0.25", *ONE_VIEW),
    },
    HALF: {"smaller: width 0.25": ("--model", "resnet18", "--width", "0.25", *ONE_VIEW)},
}
SHALLOW = ("convnet",)  # has no blocks to leave out


def arms(network: str) -> dict[str, tuple[str, ...]]:
    """The flags of each arm: ways of growing, then smaller networks that do not grow."""
    ways = {name: flags for name, flags in GROWTH.items() if not ("depth" in name and network in SHALLOW)}
    return {name: (*NETWORKS[network], *flags) for name, flags in ways.items()} | {
        name: (*flags, *GROWTH["constant"]) for name, flags in SMALLER[network].items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--arm", nargs="+", help="names of arms (all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--here", action="store_true", help="in this process, for seconds of training alone")
    parser.add_argument("--page", type=Path, help="write the tables into this page, between its markers")
    given = parser.parse_args()
    if given.page:
        fill(given.page, ablation=tables())
        return
    for seed in given.seeds:
        for network in given.network:
            for arm, flags in arms(network).items():
                if given.arm is None or arm in given.arm:
                    run(given.data, network, arm, flags, given.seconds, seed, here=given.here)


def run(data: str, network: str, arm: str, flags: tuple[str, ...], seconds: int, seed: int, *, here: bool) -> None:
    """Measure this row unless it is there already."""
    named = f"{network}, training alone, on {machine()['gpu'] or 'a processor'}" if here else network
    place = dict(zip(ROWS.key, (Path(data).name, named, arm, seconds, seed)))
    if ROWS.have(place):
        return
    row = place | (
        trained(data, flags, seconds, seed) if here else measure(Case((data, *flags), seconds, verb="train"), seed)
    )
    ROWS.put(row)
    print(*place.values(), f"{100 * row['accuracy']:.2f} %", f"{row['training']['epochs']:.2f} epochs", flush=True)


def trained(data: str, flags: tuple[str, ...], seconds: int, seed: int) -> Row:
    """A training in this process, of so many seconds from profiling to the finished model."""
    prepared, images = context.prepare(seed=seed), loaded(data)
    settings = {name.removeprefix("--"): value for name, value in zip(flags[::2], flags[1::2])}
    grow = Grow(settings.pop("grow"))
    if "width" in settings:
        settings["width"] = float(settings["width"])
    began = time.monotonic()
    budget = Budget(seconds, steps=("train",))
    model, training = train(images.train, Train(**settings), grow, budget=budget, context=prepared)
    return {
        "wall_seconds": round(time.monotonic() - began, 2),
        "accuracy": execute.accuracy(model, images.test),
        "validation": execute.accuracy(model, images.validation),
        "training": asdict(training),
        "machine": machine(),
    }


loaded = functools.cache(load)


def tables() -> str:
    """One table for each data set, network and time: an arm a line, the best first."""
    parts, rows = [], ROWS.read()
    for data, network, seconds in dict.fromkeys((r["data"], r["network"], r["asked_seconds"]) for r in rows):
        mine = [r for r in rows if (r["data"], r["network"], r["asked_seconds"]) == (data, network, seconds)]
        lines = [f"### {network} on {data}, {seconds} seconds", ""]
        lines += ["| arm | runs | test accuracy | validation | epochs |", "|---|---|---|---|---|"]
        by_arm = {arm: [r for r in mine if r["arm"] == arm] for arm in dict.fromkeys(r["arm"] for r in mine)}
        lines += [_line(arm, by_arm[arm]) for arm in sorted(by_arm, key=lambda arm: -_mean(by_arm[arm], "accuracy"))]
        parts.append("\n".join([*lines, ""]))
    return "\n".join(parts)


def _line(arm: str, found: list[Row]) -> str:
    epochs = sum(row["training"]["epochs"] for row in found) / len(found)
    spread = f" ± {half_interval([100 * row['accuracy'] for row in found]):.2f}" if len(found) > 1 else ""
    accuracy, validation = 100 * _mean(found, "accuracy"), 100 * _mean(found, "validation")
    return f"| {arm} | {len(found)} | {accuracy:.2f}{spread} | {validation:.1f} | {epochs:.1f} |"


def _mean(found: list[Row], name: str) -> float:
    return sum(row[name] for row in found) / len(found)


if __name__ == "__main__":
    main()
