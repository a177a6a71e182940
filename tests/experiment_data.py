"""Results of made-up experiments, for tests of their report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from shoestring.config.recipe import SweepRecipe
from shoestring.config.sweep import Sweep
from shoestring.experiments import summary
from shoestring.experiments.outcome import Outcome
from shoestring.experiments.schedule import Schedule
from shoestring.experiments.search import make_search
from shoestring.experiments.settings import Trial

LISTS = {
    "train.learning_rate": [0.05, 0.1, 0.2],
    "select.method": ["random", "facility_location"],
    "train.model": ["timm:tf_efficientnet_lite0", "timm:tf_efficientnet_lite1"],
}
RANGES = {"train.learning_rate": "0.001..0.3:log", "train.batch_size": "16..256", "train.model": ["convnet", "conv2"]}
MISSING = "cannot read /home/somebody/experiments/models/a-very-long-name-of-a-file.safetensors: no such file"

Accuracy = Callable[[Mapping[str, Any], Trial], float | None]


def made_up(values: Mapping[str, Any], trial: Trial) -> float | None:
    """Return an accuracy that depends on the learning rate, and on chance; None if the run fails."""
    if trial.setting == 4:
        return None
    chance = np.random.default_rng((trial.setting, trial.seed)).normal(0, 0.01)
    return float(0.6 + 0.1 * np.log10(values.get("train.learning_rate", 0.1)) + chance)


def experiment_result(
    over: Mapping[str, Any] | None = LISTS,
    *,
    accuracy: Accuracy = made_up,
    images: int = 500,
    task: str | None = None,
    finished: int | None = None,
    tested: bool = True,
    **sweep: Any,
) -> dict[str, Any]:
    """Return the results of an experiment whose runs have these accuracies; only so many runs are `finished`."""
    recipe = SweepRecipe(sweep=Sweep(over=over, **sweep))
    schedule = Schedule(recipe, make_search(recipe))
    while (trial := schedule.next()) is not None:
        if finished is not None and len(schedule.outcomes) == finished:
            break
        value = accuracy(schedule.settings[trial.setting], trial)
        costs = {"macs": 1_234_567 * (1 + trial.setting % 3), "params": 98_765, "latency_ms": 1.5, "seconds": 61.0}
        outcome = Outcome(error=MISSING)
        if value is not None:
            outcome = Outcome(value, (value - 0.04, value + 0.04), images, 4500, costs, task=task)
        schedule.record(trial, outcome)
    correct = np.random.default_rng(0).random((len(schedule.settings), images)) < 0.6
    with patch.object(summary, "_correct", lambda run: correct[int(run.name[:3]) - 1]):
        result = summary.summarize(recipe, schedule, Path("runs"))
    test = {"accuracy": 0.61, "interval": [0.58, 0.64], "images": 1000, "runs": {"001-seed-0": 0.61}}
    result |= {"test": test if tested and result["chosen"] else None, "out_of_fold": None}
    return result | {"data": "photos", "time": 3600.0, "out": "runs/photos-sweep", "seconds": 3500.0}
