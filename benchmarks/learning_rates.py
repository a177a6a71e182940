"""Does every network train at its automatic learning rate? Five seeds each, on digits and on a few CIFAR-10 images.

    python benchmarks/learning_rates.py [CIFAR10] [--optimizer NAME] [--rate R] [--networks NAME ...]
    python benchmarks/learning_rates.py --table

Accuracy is that on validation images; test images are not touched. Passes are counted and not seconds, so that trials
can run beside each other. Each training adds a row to results/learning_rates.json; those that are there are skipped.
`--table` prints the least, the mean and the largest accuracy over the seeds. Wide networks are narrowed: what is asked
is whether they train, not how well.
"""

from __future__ import annotations

import argparse
import time
from itertools import groupby
from typing import Any

import numpy as np

from machine import machine
from measured import Row, Rows

ROWS = Rows("learning_rates.json", ("data", "network", "optimizer", "rate", "seed"))
NETWORKS: dict[str, dict[str, Any]] = {
    "vgg16 no-norm": {"width": 0.125, "norm": False},
    "vgg8 no-norm": {"width": 0.25, "norm": False},
    "convnet no-norm": {"width": 0.25, "norm": False},
    "simplecnn": {},
    "simplecnn norm": {"norm": True},
    "vgg16": {"width": 0.125},
    "vgg8": {"width": 0.25},
    "convnet": {"width": 0.25},
    "resnet20": {"width": 0.5},
    "resnet56": {"width": 0.25},
    "resnet18": {"width": 0.125},
}
SEEDS = 5
EPOCHS = {"digits": 6.0, "cifar10": 6.0}
TRAINED, SCORED = 1000, 1000  # images of CIFAR-10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", help="CIFAR-10; digits when left out")
    parser.add_argument("--optimizer", default="auto", choices=["auto", "muon", "sgd", "adamw"])
    parser.add_argument("--rate", type=float, help="learning rate (the automatic one, when left out)")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.table:
        print(table())
        return
    train, validation = _images(given.data)
    for network in given.networks:
        for seed in range(SEEDS):
            row: Row = {"data": "cifar10" if given.data else "digits", "network": network}
            row |= {"optimizer": given.optimizer, "rate": given.rate, "seed": seed}
            if not ROWS.have(row):
                row |= trial(row, train, validation)
                ROWS.put({**row, "machine": machine()})
                print(f"{network}, seed {seed}: {row['chosen']}, {100 * row['accuracy']:.1f} %", flush=True)


def _images(where: str | None) -> tuple[Any, Any]:
    from shoestring.data import load

    data = load(where or "digits")
    if where is None:
        return data.train, data.validation
    drawn = np.random.default_rng(0).permutation(len(data.train))
    return data.train[np.sort(drawn[:TRAINED])], data.train[np.sort(drawn[TRAINED : TRAINED + SCORED])]


def trial(row: Row, train: Any, validation: Any) -> Row:
    """One training: its optimizer and accuracy on the validation images."""
    from planned_training import train as run_training
    from shoestring import Budget, execute
    from shoestring.config.recipe import Grow, Train
    from shoestring.runtime import context

    network, options = row["network"].partition(" ")[0], NETWORKS[row["network"]]
    settings = Train(model=network, optimizer=row["optimizer"], learning_rate=row["rate"], **options)
    budget, began = Budget(epochs=EPOCHS[row["data"]], steps=("train",)), time.process_time()
    prepared = context.prepare(seed=row["seed"], threads=1, device="cpu")
    model, summary = run_training(train, settings, Grow(), budget=budget, context=prepared)
    seconds = time.process_time() - began
    accuracy = execute.accuracy(model, validation)
    return {"chosen": summary.optimizer, "steps": summary.steps, "cpu_seconds": round(seconds, 1), "accuracy": accuracy}


def table() -> str:
    """The least, the mean and the largest accuracy in percent over the seeds, as Markdown."""
    lines = ["| data | network | optimizer | rate | seeds | least | mean | largest |", "|---" * 8 + "|"]
    key = ("data", "network", "chosen", "rate")
    for cell, rows in groupby(sorted(ROWS.read(), key=lambda row: str([row[name] for name in key])), _cell):
        found = [100 * row["accuracy"] for row in rows]
        shown = [f"{value:.1f}" for value in (min(found), sum(found) / len(found), max(found))]
        lines.append("| " + " | ".join([*map(str, cell), str(len(found)), *shown]) + " |")
    return "\n".join(lines)


def _cell(row: Row) -> tuple[Any, ...]:
    return row["data"], row["network"], row["chosen"], row["rate"] or "automatic"


if __name__ == "__main__":
    main()
