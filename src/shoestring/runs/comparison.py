"""Compare finished runs: their results, paired tests on the same test images, and what differs in their recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from shoestring.errors import UserError
from shoestring.evaluation.significance import compare_paired, holm
from shoestring.reporting.comparison import ComparedRun, Comparison, PairedTest
from shoestring.reporting.run_data import RunData
from shoestring.runs.directory import RunDir
from shoestring.runs.finished import read_result
from shoestring.runs.predictions_file import AnyTestPredictions, read_any_predictions

_SHOWN = ("accuracy", "interval", "examples", "seconds", "macs", "params", "file_bytes")  # results that are compared
_ENVIRONMENT = ("shoestring", "torch", "python", "platform", "device", "threads")


def compare_runs(folders: Sequence[RunDir]) -> Comparison:
    """Compare finished runs, in this order. Raises `UserError` unless there are at least two different ones."""
    paths = [folder.path.resolve() for folder in folders]
    if len(set(paths)) < 2 or len(set(paths)) < len(paths):
        raise UserError("a comparison needs at least two different runs.")
    names = _names(paths)
    runs, predictions = [], []
    for name, folder in zip(names, folders):
        result = read_result(folder)
        with folder.checking_results():
            runs.append(_compared(name, folder, result))
            predictions.append(read_any_predictions(folder.path, result))
    untested, is_fair = _why_untested(names, predictions)
    tests = () if untested else _tests(names, [one for one in predictions if one is not None])
    return Comparison(tuple(runs), tests, untested, _differences(folders), is_fair)


def paired_values(folder: RunDir, other: RunDir, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the difference of two runs on the same test images, its interval and p-value; empty if they have none."""
    predictions = [read_any_predictions(run.path, result) for run in (folder, other)]
    first, second = predictions
    if first is None or second is None or _why_untested(("", ""), predictions)[0]:
        return {}
    test = compare_paired(first.correct, second.correct)
    return {"difference": test.difference, "difference_interval": list(test.interval), "p_value": test.p_value}


def _compared(name: str, folder: RunDir, result: Mapping[str, Any]) -> ComparedRun:
    if missing := [key for key in _SHOWN if key not in result]:
        raise KeyError(missing[0])
    data = RunData(name, "", result, (), None, {}, folder.history(), "")
    return ComparedRun(name, str(folder.path), result, data.loss, data.validation)


def _names(paths: Sequence[Path]) -> list[str]:
    """Short names of the runs: the names of their folders if these differ, else their paths."""
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _why_untested(names: Sequence[str], predictions: Sequence[AnyTestPredictions | None]) -> tuple[str, bool]:
    """Return why there are no paired tests (empty if there are), and False if the images are known to differ."""
    first = predictions[0]
    for name, other in zip(names, predictions):
        if other is None or not len(other):
            return f"No paired tests, as {name} has no predictions for test images.", True
        assert first is not None
        if other.names != first.names or not np.array_equal(other.labels, first.labels):
            return f"No paired tests, as {names[0]} and {name} were tested on different images.", False
    return "", True


def _tests(names: Sequence[str], predictions: Sequence[AnyTestPredictions]) -> tuple[PairedTest, ...]:
    """Test all pairs of runs."""
    pairs = list(combinations(range(len(names)), 2))
    results = [compare_paired(predictions[one].correct, predictions[other].correct) for one, other in pairs]
    adjusted = holm([result.p_value for result in results])
    return tuple(
        PairedTest(
            names[one],
            names[other],
            result.difference,
            result.interval,
            result.only_first,
            result.only_second,
            result.p_value,
            value,
        )
        for (one, other), result, value in zip(pairs, results, adjusted)
    )


def _differences(folders: Sequence[RunDir]) -> dict[str, list[Any]]:
    """Settings, data and environment that are not the same in all runs: name -> value of each run."""
    contents = [_flat(_settings(folder.run)) for folder in folders]
    names = dict.fromkeys(name for content in contents for name in content)
    values = {name: [content.get(name) for content in contents] for name in names}
    return {name: row for name, row in values.items() if any(value != row[0] for value in row)}


def _settings(content: Mapping[str, Any]) -> dict[str, Any]:
    environment = {name: content.get("surroundings", {}).get(name) for name in _ENVIRONMENT}
    images = content.get("data", {}).get("fingerprint", "")[:8]
    return {**content.get("recipe", {}), "training images (fingerprint)": images, "environment": environment}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings: {"train": {"width": 1}} becomes {"train.width": 1}."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
