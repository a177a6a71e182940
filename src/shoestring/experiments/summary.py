"""What the runs of an experiment say: means with intervals, paired tests, the Pareto front, and what mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from shoestring.config.recipe import SweepRecipe
from shoestring.config.sweep import Axis
from shoestring.evaluation.significance import compare_paired, compare_seeds, holm, mean_interval
from shoestring.experiments.outcome import COSTS, Outcome
from shoestring.experiments.schedule import Schedule
from shoestring.experiments.settings import name_of
from shoestring.reporting.charts import pareto_front
from shoestring.runs.directory import RunDir
from shoestring.runs.finished import read_result
from shoestring.runs.predictions_file import read_any_predictions

_MAX_TESTED = 40  # combinations of which all pairs are tested
_BINS = 3  # into which a range is divided to see what mattered


def summarize(recipe: SweepRecipe, schedule: Schedule, folder: Path) -> dict[str, Any]:
    """Return the results of an experiment as plain values; `rows` are the combinations, the best first."""
    rows = [_row(schedule, index) for index in range(len(schedule.settings))]
    rows.sort(key=lambda row: (row["accuracy"] is None, not row["complete"], -row["round"], -(row["accuracy"] or 0.0)))
    sweep, varied = recipe.sweep, recipe.sweep.kind == "sweep"
    best = [row for row in rows if row["complete"] and row["round"] == rows[0]["round"]]
    tests, untested = _tests(best, schedule, folder) if varied else ([], "")
    points = {row["name"]: (row[sweep.against], row["accuracy"]) for row in best} if sweep.against else {}
    return {
        "kind": sweep.kind,
        "split": "validation" if varied else "out-of-fold" if sweep.folds else recipe.evaluate or "test",
        "task": next((one.task for one in schedule.outcomes.values() if not one.error), None),
        "against": sweep.against,
        "repeats": schedule.repeats,
        "folds": sweep.folds,
        "rounds": schedule.sizes,
        "rows": rows,
        "chosen": best[0]["name"] if varied and best else None,
        "front": pareto_front(points),
        "tests": tests,
        "untested": untested,
        "effects": [_effect(axis, schedule) for axis in sweep.axes] if len(schedule.settings) > 1 else [],
        "runs": sum(not outcome.error for outcome in schedule.outcomes.values()),
        "left_out": schedule.total - len(schedule.outcomes),
    }


def _row(schedule: Schedule, setting: int) -> dict[str, Any]:
    """Return the results of a combination in its last round.

    `overlap` is that of the training images of folds, for `mean_interval`.
    """
    found: dict[str, Outcome] = {}
    rung = 0
    for rung in reversed(range(len(schedule.sizes))):
        names = [trial.name for trial in schedule.trials_of(setting, rung)]
        if found := {name: schedule.outcomes[name] for name in names if name in schedule.outcomes}:
            break
    good = {name: outcome for name, outcome in found.items() if outcome.accuracy is not None}
    values = [float(outcome.accuracy or 0.0) for outcome in good.values()]
    first = next(iter(good.values()), None)
    overlap = first.images / first.examples if first is not None and schedule.sweep.folds else 0.0
    row = {
        "name": name_of(schedule.settings[setting]),
        "settings": schedule.settings[setting],
        "round": rung,
        "runs": list(good),
        "accuracies": [outcome.accuracy for outcome in good.values()],
        "complete": len(good) == schedule.repeats,
        "overlap": overlap,
        "error": next((outcome.error for outcome in found.values() if outcome.error), None),
        **dict.fromkeys(("accuracy", "interval", "min", "max", "images", "examples", *COSTS)),
    }
    if first is None:
        return row
    mean, interval = mean_interval(values, overlap=overlap)
    costs = {name: _mean([outcome.costs[name] for outcome in good.values()]) for name in COSTS}
    return (
        row
        | costs
        | {
            "accuracy": mean,
            "interval": interval or first.interval,
            "min": min(values),
            "max": max(values),
            "images": first.images,
            "examples": _mean([outcome.examples for outcome in good.values()]),
        }
    )


def _mean(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return int(mean) if mean == int(mean) else mean


def _tests(rows: Sequence[Mapping[str, Any]], schedule: Schedule, folder: Path) -> tuple[list[dict[str, Any]], str]:
    """Test all pairs of combinations; return the tests, and why there are none."""
    if len(rows) < 2:
        where = " in the last round" if len(schedule.sizes) > 1 else ""
        return [], f"Fewer than two combinations are complete{where}, so there are no pairs to test."
    if len(rows) > _MAX_TESTED:
        return [], f"Pairs of more than {_MAX_TESTED} combinations are not tested: so many tests find little."
    pairs = list(combinations(rows, 2))
    if schedule.repeats > 1:
        scores = {row["name"]: [schedule.outcomes[name].accuracy or 0.0 for name in row["runs"]] for row in rows}
        overlap = rows[0]["overlap"]
        results = [compare_seeds(scores[one["name"]], scores[other["name"]], overlap=overlap) for one, other in pairs]
    else:
        correct = {row["name"]: _correct(folder / "trials" / row["runs"][0]) for row in rows}
        if any(one is None or len(one) != rows[0]["images"] for one in correct.values()):
            return [], "The runs have no predictions of the same images to compare."
        results = [compare_paired(correct[one["name"]], correct[other["name"]]) for one, other in pairs]  # type: ignore[arg-type]
    adjusted = holm([result.p_value for result in results])
    return [
        {
            "first": one["name"],
            "second": other["name"],
            "difference": result.difference,
            "interval": list(result.interval),
            "p_value": result.p_value,
            "adjusted": value,
        }
        for (one, other), result, value in zip(pairs, results, adjusted)
    ], ""


def _correct(run: Path) -> np.ndarray | None:
    """Return which images the run in a folder predicts correctly (N,), all labels; None without its predictions."""
    predictions = read_any_predictions(run, read_result(RunDir(run)))
    return None if predictions is None else predictions.correct


def _effect(axis: Axis, schedule: Schedule) -> dict[str, Any]:
    """Return how the accuracy of the first round depends on one setting.

    `bins` of a range are groups of similar values, of which there are equally many combinations. `explained` is the
    fraction of the variance between combinations that this setting alone explains, less what chance would (epsilon
    squared); None if nothing else is varied, or if there are too few combinations.
    """
    scores = {index: schedule.score(index, 0) for index in range(len(schedule.settings))}
    known = [(schedule.settings[index][axis.name], score) for index, score in scores.items() if score is not None]
    groups: dict[Any, list[float]] = {}
    for value, score in known:
        groups.setdefault(value, []).append(score)
    explained = None
    bins = _binned(known) if axis.is_range else []
    if len(schedule.settings[0]) > 1:
        explained = _explained([[score for _, score in part] for part in bins] or list(groups.values()))
    means = [{"value": value, "accuracy": _mean(own), "settings": len(own)} for value, own in groups.items()]
    if axis.is_range:
        means.sort(key=lambda entry: entry["value"])
    return {
        "setting": axis.name,
        "explained": explained,
        "values": means,
        "bins": [
            {"from": part[0][0], "to": part[-1][0], "accuracy": _mean([score for _, score in part])} for part in bins
        ],
        "range": axis.is_range,
        "log": axis.log,
    }


def _binned(known: Sequence[tuple[Any, float]]) -> list[list[tuple[Any, float]]]:
    """Divide pairs of a value and a score into bins of similar size by the value."""
    ordered = sorted(known, key=lambda pair: pair[0])
    ends = [round(len(ordered) * number / _BINS) for number in range(_BINS + 1)]
    return [ordered[start:end] for start, end in pairwise(ends) if end > start]


def _explained(groups: Sequence[Sequence[float]]) -> float | None:
    values = np.concatenate([np.array(group) for group in groups]) if groups else np.zeros(0)
    total = float(((values - values.mean()) ** 2).sum()) if len(values) else 0.0
    within = sum(float(((np.array(group) - np.mean(group)) ** 2).sum()) for group in groups)
    freedom = len(values) - len(groups)
    if len(groups) < 2 or freedom < 1 or total < 1e-12:
        return None
    return max((total - within - (len(groups) - 1) * within / freedom) / total, 0.0)
