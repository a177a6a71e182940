"""Choices of the recipe tried on validation images: how wide a network, when it is cut, which rule moves its weights.

    python benchmarks/validation_trials.py CIFAR10 [--width W] [--cut SHARE] [--grow SCHEDULE] [--seconds S] [--seed N]
        [--model NAME] [--optimizer NAME] [--learning-rate R] [--batch-size N] [--epochs E] [--examples N]
        [--strength SHARES] [--precision NAME] [--threads N] [--set NAME=VALUE ...]

Trains on 40,000 of the training images, or on N random ones of them, as many of each class, and scores on the other
10,000; test images are not touched. `--cut` is the share of the time after which the network is cut to the target. With
`--epochs` passes are counted and not seconds, so that trials can run beside each other. `--set` gives any other setting
of training, as recipes name it and with its value as JSON. One row is added to results/validation_trials.json.
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
EVALUATION = 5.0  # seconds kept for scoring a network before it is cut


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--model", default="convnet")
    parser.add_argument("--width", type=float, help="0.5 for convnet, else the whole network")
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
    given = parser.parse_args()
    if given.width is None and given.model == "convnet":
        given.width = 0.5
    row = {**vars(given), "data": Path(given.data).name, **trial(given), "machine": machine()}
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    RESULTS.write_text(json.dumps([*rows, row], indent=1) + "\n")
    print(json.dumps(row))


def trial(given: argparse.Namespace) -> dict[str, Any]:
    from planned_training import train
    from shoestring import Budget, execute, load, select
    from shoestring.config.recipe import Grow, Prune, Train
    from shoestring.evaluation.cost import count_macs
    from shoestring.models.inference import log_probabilities
    from shoestring.runtime import context

    prepared = context.prepare(seed=given.seed, threads=given.threads)
    images = load(given.data).train
    rows = np.random.default_rng(7).permutation(len(images))
    validation, images = images[rows[:HELD_OUT]], images[rows[HELD_OUT:]]
    if given.examples:
        images = images[select(images, given.examples, method="random", context=prepared)]
    shares = {"train": given.cut, "prune": 1 - given.cut} if given.cut else ("train",)
    budget = Budget(None if given.epochs else given.seconds, epochs=given.epochs, steps=shares)
    if not given.epochs:
        budget.reserve("validate", EVALUATION)

    def accuracy(model: Any, **views: Any) -> float:
        model = replace(model, preprocessing=replace(model.preprocessing, **views))
        return float((log_probabilities(model, validation).argmax(1) == validation.targets).mean())

    passed_on = ("width", "optimizer", "learning_rate", "batch_size", "strength", "precision")
    more = {name: getattr(given, name) for name in passed_on}
    more |= {name: json.loads(value) for name, value in (pair.split("=", 1) for pair in given.set)}
    settings = Train(model=given.model, **more)
    prune = Prune("magnitude", given.macs, None) if given.cut else None
    model, training = train(images, settings, Grow(given.grow), budget=budget, context=prepared, later=prune)
    found: dict[str, Any] = {"steps": training.steps}
    if prune is not None:
        found["before_the_cut"] = accuracy(model)
        model, recovery = execute.prune(model, images, prune, settings, budget=budget, context=prepared)
        found["steps_after_the_cut"] = recovery.steps if recovery else 0
    found["trained_seconds"] = round(budget.elapsed, 2)
    views = {"one": {"mirror": False, "shift": 0}, "flip": {"shift": 0}, "crops": {}}
    found["views"] = {name: accuracy(model, **seen) for name, seen in views.items()}
    return {**found, "macs_left": count_macs(model), "validation_accuracy": found["views"]["crops"]}


if __name__ == "__main__":
    main()
