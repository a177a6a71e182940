from __future__ import annotations

import numpy as np
import pytest

from shoestring.config.recipe import SweepRecipe
from shoestring.config.sweep import Sweep
from shoestring.experiments.outcome import Outcome
from shoestring.experiments.schedule import Schedule
from shoestring.experiments.search import make_search
from shoestring.experiments.summary import summarize

COSTS = {"macs": 10, "params": 5, "latency_ms": 1.0, "seconds": 2.0}


def summary(tmp_path, accuracy, **settings) -> dict:
    """The summary of an experiment whose runs have these accuracies."""
    recipe = SweepRecipe(sweep=Sweep(**settings))
    schedule = Schedule(recipe, make_search(recipe))
    while (trial := schedule.next()) is not None:
        value = accuracy(schedule.settings[trial.setting], trial.seed)
        schedule.record(trial, Outcome(value, (value, value), 100, 50, COSTS))
    return summarize(recipe, schedule, tmp_path)


def test_what_mattered_is_what_the_accuracy_depends_on(tmp_path):
    noise = np.random.default_rng(0)
    over = {"train.width": [1, 2, 4], "train.dropout": [0, 0.1, 0.2], "train.mixup": [0, 0.5]}
    result = summary(
        tmp_path, lambda values, seed: 0.5 + 0.1 * values["train.width"] + noise.normal(0, 0.005), over=over, seeds=2
    )
    explained = {effect["setting"]: effect["explained"] for effect in result["effects"]}
    assert explained["train.width"] > 0.95 and explained["train.dropout"] < 0.05 > explained["train.mixup"]
    best = result["effects"][0]["values"][-1]
    assert best == {"value": 4, "accuracy": pytest.approx(0.9, abs=0.01), "settings": 6}


def test_effect_of_a_range_is_seen_in_its_thirds(tmp_path):
    over = {"train.learning_rate": "0.001..0.1:log", "train.dropout": "0..0.5"}
    result = summary(
        tmp_path,
        lambda values, seed: min(0.9, 10 * values["train.learning_rate"]),
        over=over,
        search="random",
        trials=60,
    )
    rate, dropout = result["effects"]
    assert rate["explained"] > 0.6 and dropout["explained"] < 0.2
    places = [entry["value"] for entry in rate["values"]]
    assert places == sorted(places)


def test_pairs_are_adjusted_for_their_number(tmp_path):
    over, rng = {"train.width": [1, 2, 3]}, np.random.default_rng(0)
    result = summary(
        tmp_path, lambda values, seed: 0.2 * values["train.width"] + rng.normal(0, 0.01), over=over, seeds=4
    )
    assert len(result["tests"]) == 3 and result["chosen"] == "width=3"
    assert all(test["adjusted"] < 0.05 for test in result["tests"])
    lowest = min(test["p_value"] for test in result["tests"])
    assert min(test["adjusted"] for test in result["tests"]) == pytest.approx(3 * lowest)


def test_one_setting_explains_nothing_beside_others(tmp_path):
    result = summary(tmp_path, lambda values, seed: 0.2 * values["train.width"], over={"train.width": [1, 2]}, seeds=2)
    assert [effect["explained"] for effect in result["effects"]] == [None]


def test_folds_have_a_wider_interval(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(0.7, 0.02, 5)
    recipe = SweepRecipe(sweep=Sweep(folds=5))
    schedule = Schedule(recipe, make_search(recipe))
    for value in values:
        trial = schedule.next()
        assert trial is not None
        schedule.record(trial, Outcome(value, (value, value), 25, 100, COSTS))
    [row] = summarize(recipe, schedule, tmp_path)["rows"]
    half = 2.7764451 * np.std(values, ddof=1) * np.sqrt(1 / 5 + 25 / 100)
    assert row["interval"] == pytest.approx((values.mean() - half, values.mean() + half))
