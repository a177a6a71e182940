"""Trials of recipe settings on validation images: network width, time of pruning, optimizer and others.

    python benchmarks/validation_trials.py CIFAR10 [--width W] [--cut FRACTION] [--grow SCHEDULE] [--seconds S]
        [--seed N] [--model NAME] [--optimizer NAME] [--learning-rate R] [--batch-size N] [--epochs E] [--examples N]
        [--strength FRACTIONS] [--precision NAME] [--threads N] [--set NAME=VALUE ...]

Train on 40,000 of the training images, or on a balanced random subset of N of them, and evaluate on the other 10,000;
test images are not used. `--cut` is the fraction of the time after which the network is pruned to the target. With
`--epochs` the budget is in epochs, so that trials can run in parallel. `--set` sets any other training setting by its
name in recipes, with a JSON value. Adds one row to results/validation_trials.json.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from machine import machine

RESULTS = Path(__file__).parent / "results" / "validation_trials.json"
HELD_OUT = 10_000
EVALUATION = 5.0  # seconds reserved for evaluation before pruning


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--model", default="convnet")
    parser.add_argument("--width", type=float, help="width (default: 0.5 for convnet, else 1)")
    parser.add_argument("--optimizer", default="auto")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--examples", type=int)
    parser.add_argument("--strength", default="1")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--set", nargs="+", metavar="NAME=VALUE", default=[])
    parser.add_argument("--cut", type=float)
    parser.add_argument("--grow", default="constant")
    parser.add_argument("--macs", default="0.5")
    parser.add_argument("--seconds", type=float, default=285.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.width is None and args.model == "convnet":
        args.width = 0.5
    row = {**vars(args), "data": Path(args.data).name, **trial(args), "machine": machine()}
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    RESULTS.write_text(json.dumps([*rows, row], indent=1) + "\n")
    print(json.dumps(row))


def trial(args: argparse.Namespace) -> dict[str, Any]:
    from planned_training import train
    from shoestring import Budget, execute, load, select
    from shoestring.config.recipe import Grow, Prune, Train
    from shoestring.evaluation.cost import count_macs
    from shoestring.models.inference import log_probabilities
    from shoestring.runtime import context

    prepared = context.prepare(seed=args.seed, threads=args.threads)
    images = load(args.data).train
    rows = np.random.default_rng(7).permutation(len(images))
    validation, images = images[rows[:HELD_OUT]], images[rows[HELD_OUT:]]
    if args.examples:
        images = images[select(images, args.examples, method="random", context=prepared)]
    steps = {"train": args.cut, "prune": 1 - args.cut} if args.cut else ("train",)
    budget = Budget(None if args.epochs else args.seconds, epochs=args.epochs, steps=steps)
    if not args.epochs:
        budget.reserve("validate", EVALUATION)

    def accuracy(model: Any, **changes: Any) -> float:
        model = replace(model, preprocessing=replace(model.preprocessing, **changes))
        return float((log_probabilities(model, validation).argmax(1) == validation.targets).mean())

    fields = ("width", "optimizer", "learning_rate", "batch_size", "strength", "precision")
    options = {name: getattr(args, name) for name in fields}
    options |= {name: json.loads(value) for name, value in (pair.split("=", 1) for pair in args.set)}
    settings = Train(model=args.model, **options)
    prune = Prune("magnitude", args.macs, None) if args.cut else None
    model, training, resolved = train(images, settings, Grow(args.grow), budget=budget, context=prepared, later=prune)
    result: dict[str, Any] = {"steps": training.steps}
    if prune is not None:
        result["before_the_cut"] = accuracy(model)
        model, recovery = execute.prune(model, images, prune, resolved.recovery, budget=budget, context=prepared)
        result["steps_after_the_cut"] = recovery.steps if recovery else 0
    result["trained_seconds"] = round(budget.elapsed, 2)
    views = {"one": {"mirror": False, "shift": 0}, "flip": {"shift": 0}, "crops": {}}
    result["views"] = {name: accuracy(model, **changes) for name, changes in views.items()}
    return {**result, "macs_left": count_macs(model), "validation_accuracy": result["views"]["crops"]}


if __name__ == "__main__":
    main()
