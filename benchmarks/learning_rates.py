"""Accuracy of every network at its default learning rate, over five seeds, on digits and a small part of CIFAR-10.

    python benchmarks/learning_rates.py [CIFAR10] [--optimizer NAME] [--rate R] [--networks NAME ...]
    python benchmarks/learning_rates.py --table

Accuracy is measured on validation images; test images are not used. Budgets are in epochs, so that trials can run in
parallel. Each training adds a row to results/learning_rates.json; existing rows are skipped. `--table` prints the
minimum, mean and maximum accuracy over the seeds. Wide networks are narrowed: the question is whether they train, not
how well.
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
TRAIN_COUNT, VALIDATION_COUNT = 1000, 1000  # images of CIFAR-10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", help="CIFAR-10 (default: digits)")
    parser.add_argument("--optimizer", default="auto", choices=["auto", "muon", "sgd", "adamw"])
    parser.add_argument("--rate", type=float, help="learning rate (default: automatic)")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if args.table:
        print(table())
        return
    train, validation = _images(args.data)
    for network in args.networks:
        for seed in range(SEEDS):
            row: Row = {"data": "cifar10" if args.data else "digits", "network": network}
            row |= {"optimizer": args.optimizer, "rate": args.rate, "seed": seed}
            if not ROWS.have(row):
                row |= trial(row, train, validation)
                ROWS.put({**row, "machine": machine()})
                print(f"{network}, seed {seed}: {row['chosen']}, {100 * row['accuracy']:.1f} %", flush=True)


def _images(source: str | None) -> tuple[Any, Any]:
    from shoestring.data import load

    data = load(source or "digits")
    if source is None:
        return data.train, data.validation
    order = np.random.default_rng(0).permutation(len(data.train))
    return data.train[np.sort(order[:TRAIN_COUNT])], data.train[
        np.sort(order[TRAIN_COUNT : TRAIN_COUNT + VALIDATION_COUNT])
    ]


def trial(row: Row, train: Any, validation: Any) -> Row:
    """Train once; return the optimizer and the accuracy on the validation images."""
    from planned_training import train as run_training
    from shoestring import Budget, execute
    from shoestring.config.recipe import Grow, Train
    from shoestring.runtime import context

    network, options = row["network"].partition(" ")[0], NETWORKS[row["network"]]
    settings = Train(model=network, optimizer=row["optimizer"], learning_rate=row["rate"], **options)
    budget, start = Budget(epochs=EPOCHS[row["data"]], steps=("train",)), time.process_time()
    prepared = context.prepare(seed=row["seed"], threads=1, device="cpu")
    model, summary, _ = run_training(train, settings, Grow(), budget=budget, context=prepared)
    seconds = time.process_time() - start
    accuracy = execute.accuracy(model, validation)
    return {"chosen": summary.optimizer, "steps": summary.steps, "cpu_seconds": round(seconds, 1), "accuracy": accuracy}


def table() -> str:
    """Return the minimum, mean and maximum accuracy in percent over the seeds, as Markdown."""
    lines = ["| data | network | optimizer | rate | seeds | minimum | mean | maximum |", "|---" * 8 + "|"]
    key = ("data", "network", "chosen", "rate")
    for cell, rows in groupby(sorted(ROWS.read(), key=lambda row: str([row[name] for name in key])), _cell):
        values = [100 * row["accuracy"] for row in rows]
        shown = [f"{value:.1f}" for value in (min(values), sum(values) / len(values), max(values))]
        lines.append("| " + " | ".join([*map(str, cell), str(len(values)), *shown]) + " |")
    return "\n".join(lines)


def _cell(row: Row) -> tuple[Any, ...]:
    return row["data"], row["network"], row["chosen"], row["rate"] or "automatic"


if __name__ == "__main__":
    main()
