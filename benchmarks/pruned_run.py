"""When to halve a network during its training: for equal work, counted, on validation images.

    python benchmarks/pruned_run.py CIFAR10 [--images 4000] [--epochs 5] [--width 0.25] [--seeds 3] [--arm NAME ...]
    python benchmarks/pruned_run.py --page docs/pruning.md

Each arm trains a convnet as `shoestring run --macs 0.5` does, but at another moment, in another way, or not at all. The
work is that of `--epochs` epochs of the whole network: an epoch of the halved network counts as it takes time in
measurements of whole runs, its fraction of the multiply-accumulates to the power of 0.65, and with distillation a third
of an epoch of the whole network more. The learning rate falls with the work. So results do not depend on the load of
the machine. Accuracies are those after the last step, on 3,000 other training images; test images are not used. Each
row is saved at once to results/pruned_run.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from intervals import half_interval
from machine import machine
from measured import Row, Rows, fill
from shoestring import Budget, execute, load
from shoestring.config.recipe import Grow, Prune, Recipe, Train
from shoestring.data import Dataset, Images
from shoestring.evaluation.cost import count_macs
from shoestring.models.model import Model
from shoestring.planning.plan import MACS_POWER
from shoestring.planning.resolve import resolve
from shoestring.pruning import shrink
from shoestring.runtime import context

ROWS = Rows("pruned_run.json", ("images", "epochs", "width", "arm", "seed"))
HELD_OUT, BATCH, TARGET = 3000, 125, 0.5
TEACHER = 1 / 3  # of a step: the predictions of the whole network


@dataclass(frozen=True)
class Arm:
    """The fraction of the work after which the network is cut, and how; it is trained small from the start for 0."""

    cut: float | None = None
    scope: str = "global"
    distil: bool = False


ARMS = {
    "whole network": Arm(),
    "small from the start": Arm(0.0),
    "cut at 20 %": Arm(0.2),
    "cut at 40 %": Arm(0.4),
    "cut at 60 %": Arm(0.6),
    "cut at 40 %, uniform": Arm(0.4, scope="uniform"),
    "cut at 20 %, uniform": Arm(0.2, scope="uniform"),
    "cut at 60 %, uniform": Arm(0.6, scope="uniform"),
    "cut at 40 %, distillation": Arm(0.4, distil=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--epochs", type=float, default=5.0, help="work, in epochs of the whole network")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arm", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--page", type=Path, help="write the table of the results into this page, between its markers")
    args = parser.parse_args()
    if args.page:
        fill(args.page, **{"when-to-cut": table(ROWS.read())})
        return
    images, hardware = load(args.data).train, machine()
    order = np.random.default_rng(7).permutation(len(images))
    train, validation = images[order[HELD_OUT : HELD_OUT + args.images]], images[order[:HELD_OUT]]
    for seed in range(args.seeds):
        for name in args.arm:
            key = dict(zip(ROWS.key, (args.images, args.epochs, args.width, name, seed)))
            if not ROWS.have(key):
                row = key | trial(train, validation, ARMS[name], args.epochs, args.width, seed)
                ROWS.put(row | {"machine": {name: hardware[name] for name in ("cpu", "cores", "torch", "commit")}})
                print(*row.values(), flush=True)


def trial(images: Images, validation: Images, arm: Arm, work: float, width: float, seed: int) -> Row:
    """Train a network by an arm; return its validation accuracy, its MACs, and what was done."""
    start = time.process_time()
    cut = 1.0 if arm.cut is None else arm.cut
    epochs = {"train": cut * work, "prune": (1 - cut) * work / (TARGET**MACS_POWER + TEACHER * arm.distil)}
    if arm.cut == 0:
        model, macs = train_small(images, epochs["prune"], width, seed)
    else:
        model, macs = train_and_cut(images, arm, epochs, width, seed)
    return {
        "accuracy": execute.accuracy(model, validation),
        "macs": count_macs(model),
        "whole_macs": macs,
        "epochs_whole": round(epochs["train"], 3),
        "epochs_small": round(epochs["prune"], 3),
        "cpu_seconds": round(time.process_time() - start, 1),
    }


def settings(width: float) -> Train:
    return Train(model="convnet", width=width, batch_size=BATCH, tta="none")


def train_and_cut(images: Images, arm: Arm, epochs: dict[str, float], width: float, seed: int) -> tuple[Model, int]:
    """Return the trained network, cut where the arm says so, and the MACs of the whole one."""
    steps = {name: count for name, count in epochs.items() if count > 0}
    prune = Prune(macs=str(TARGET), scope=arm.scope, distil=arm.distil) if "prune" in steps else Prune()
    budget, prepared = Budget(epochs=sum(steps.values()), steps=steps), context.prepare(seed=seed)
    recipe = Recipe(train=settings(width), grow=Grow("constant"), prune=prune)
    resolved = resolve(recipe, Dataset.of(images), budget, prepared)
    cut = 1.0 if arm.cut is None else arm.cut
    assert resolved.training is not None
    planned = replace(resolved.training, train=replace(resolved.training.train, lr_range=(0.0, cut)))
    model, *_ = execute.train(images, replace(resolved, training=planned), budget=budget)
    macs = count_macs(model)
    if resolved.recovery is not None:
        plan = replace(resolved.recovery, lr_range=(cut, 1.0))
        model, _ = execute.prune(model, images, resolved.recipe.prune, plan, budget=budget, context=prepared)
    return model, macs


def train_small(images: Images, epochs: float, width: float, seed: int) -> tuple[Model, int]:
    """Return a network that was cut before its training, by the same fraction of each layer, and the MACs before."""
    budget, prepared = Budget(epochs=epochs, steps=("train",)), context.prepare(seed=seed)
    recipe = Recipe(train=settings(width), grow=Grow("constant"))
    resolved = resolve(recipe, Dataset.of(images), budget, prepared)
    assert resolved.training is not None
    whole = resolved.training.model
    small = shrink(whole, [], method="random", macs=TARGET, scope="uniform")
    resolved = replace(resolved, training=replace(resolved.training, model=small))
    return execute.train(images, resolved, budget=budget)[0], count_macs(whole)


def table(rows: list[Row]) -> str:
    """Return a table for each scale: the mean accuracy, and the difference from the whole network of the same seed."""
    parts = []
    for images, epochs, width in dict.fromkeys(tuple(row[name] for name in ROWS.key[:3]) for row in rows):
        own = [row for row in rows if tuple(row[name] for name in ROWS.key[:3]) == (images, epochs, width)]
        whole = {row["seed"]: row["accuracy"] for row in own if row["arm"] == "whole network"}
        lines = [f"Width {width:g}, {images:,} images, {epochs:g} epochs of the whole network:", ""]
        lines += ["| arm | epochs before and after the cut | runs | accuracy | difference |", "|---|---|---|---|---|"]
        for arm in sorted({row["arm"] for row in own}, key=lambda arm: -_mean(own, arm)):
            found = [row for row in own if row["arm"] == arm]
            differences = [100 * (row["accuracy"] - whole[row["seed"]]) for row in found if row["seed"] in whole]
            spread = f" ± {half_interval(differences):.1f}" if len(differences) > 2 and any(differences) else ""
            difference = f"{statistics.mean(differences):+.1f}{spread}" if any(differences) else "-"
            counts = f"{found[0]['epochs_whole']:.1f} and {found[0]['epochs_small']:.1f}"
            lines.append(f"| {arm} | {counts} | {len(found)} | {100 * _mean(own, arm):.1f} % | {difference} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _mean(rows: list[Row], arm: str) -> float:
    return statistics.mean(row["accuracy"] for row in rows if row["arm"] == arm)


if __name__ == "__main__":
    main()
