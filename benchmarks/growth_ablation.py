"""Growth ablation: the same network with and without growth, and smaller networks, for equal wall-clock time.

    python benchmarks/growth_ablation.py DATA [--seconds 300] [--network NAME ...] [--arm NAME ...] [--seeds 0 1 2]
        [--here]
    python benchmarks/growth_ablation.py --page docs/growth.md

DATA is a folder of CIFAR-10 as Parquet, or any other data set that `shoestring train` accepts. Each run is a separate
process; its row is saved to results/growth_ablation.json at once, so the benchmark can be interrupted and resumed. All
configurations of a network run with one seed before the next, so that the runs compared are close in time. With
`--here` the trainings run one after another in this process, and the seconds are those of training alone: for
accelerators, where starting a process takes longer than some trainings.
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

NO_TTA = ("--tta", "none")  # two cores predict a few hundred images per second
HALF = "resnet18, width 0.5"
NETWORKS = {
    "convnet": ("--model", "convnet", "--width", "0.5"),
    "resnet18": ("--model", "resnet18", *NO_TTA),
    HALF: ("--model", "resnet18", "--width", "0.5", *NO_TTA),
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
        "smaller: width 0.5": ("--model", "resnet18", "--width", "0.5", *NO_TTA),
        "smaller: width 0.25": ("--model", "resnet18", "--width", "0.25", *NO_TTA),
    },
    HALF: {"smaller: width 0.25": ("--model", "resnet18", "--width", "0.25", *NO_TTA)},
}
SHALLOW = ("convnet",)  # has no blocks to skip


def configurations(network: str) -> dict[str, tuple[str, ...]]:
    """Return the flags of each configuration: growth schedules, then smaller networks that do not grow."""
    ways = {name: flags for name, flags in GROWTH.items() if not ("depth" in name and network in SHALLOW)}
    return {name: (*NETWORKS[network], *flags) for name, flags in ways.items()} | {
        name: (*flags, *GROWTH["constant"]) for name, flags in SMALLER[network].items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--arm", nargs="+", help="names of configurations (all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--here", action="store_true", help="train in this process, and count the training time alone")
    parser.add_argument("--page", type=Path, help="write the tables into this page, between its markers")
    args = parser.parse_args()
    if args.page:
        fill(args.page, ablation=tables())
        return
    for seed in args.seeds:
        for network in args.network:
            for arm, flags in configurations(network).items():
                if args.arm is None or arm in args.arm:
                    run(args.data, network, arm, flags, args.seconds, seed, here=args.here)


def run(data: str, network: str, arm: str, flags: tuple[str, ...], seconds: int, seed: int, *, here: bool) -> None:
    """Measure this row if it is missing."""
    named = f"{network}, training alone, on {machine()['gpu'] or 'a processor'}" if here else network
    key = dict(zip(ROWS.key, (Path(data).name, named, arm, seconds, seed)))
    if ROWS.have(key):
        return
    row = key | (
        train_here(data, flags, seconds, seed) if here else measure(Case((data, *flags), seconds, verb="train"), seed)
    )
    ROWS.put(row)
    print(*key.values(), f"{100 * row['accuracy']:.2f} %", f"{row['training']['epochs']:.2f} epochs", flush=True)


def train_here(data: str, flags: tuple[str, ...], seconds: int, seed: int) -> Row:
    """Train in this process, for this many seconds from profiling to the finished model."""
    prepared, images = context.prepare(seed=seed), loaded(data)
    settings = {name.removeprefix("--"): value for name, value in zip(flags[::2], flags[1::2])}
    grow = Grow(settings.pop("grow"))
    if "width" in settings:
        settings["width"] = float(settings["width"])
    start = time.monotonic()
    budget = Budget(seconds, steps=("train",))
    model, training, _ = train(images.train, Train(**settings), grow, budget=budget, context=prepared)
    return {
        "wall_seconds": round(time.monotonic() - start, 2),
        "accuracy": execute.accuracy(model, images.test),
        "validation": execute.accuracy(model, images.validation),
        "training": asdict(training),
        "machine": machine(),
    }


loaded = functools.cache(load)


def tables() -> str:
    """Return a Markdown table for each data set, network and time, the best configuration first."""
    parts, rows = [], ROWS.read()
    for data, network, seconds in dict.fromkeys((r["data"], r["network"], r["asked_seconds"]) for r in rows):
        group = [r for r in rows if (r["data"], r["network"], r["asked_seconds"]) == (data, network, seconds)]
        lines = [f"### {network} on {data}, {seconds} seconds", ""]
        lines += ["| configuration | runs | test accuracy | validation | epochs |", "|---|---|---|---|---|"]
        by_arm = {arm: [r for r in group if r["arm"] == arm] for arm in dict.fromkeys(r["arm"] for r in group)}
        lines += [_line(arm, by_arm[arm]) for arm in sorted(by_arm, key=lambda arm: -_mean(by_arm[arm], "accuracy"))]
        parts.append("\n".join([*lines, ""]))
    return "\n".join(parts)


def _line(arm: str, rows: list[Row]) -> str:
    epochs = sum(row["training"]["epochs"] for row in rows) / len(rows)
    spread = f" ± {half_interval([100 * row['accuracy'] for row in rows]):.2f}" if len(rows) > 1 else ""
    accuracy, validation = 100 * _mean(rows, "accuracy"), 100 * _mean(rows, "validation")
    return f"| {arm} | {len(rows)} | {accuracy:.2f}{spread} | {validation:.1f} | {epochs:.1f} |"


def _mean(rows: list[Row], name: str) -> float:
    return sum(row[name] for row in rows) / len(rows)


if __name__ == "__main__":
    main()
