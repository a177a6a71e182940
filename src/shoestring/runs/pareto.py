"""Accuracy against size and speed: the network before and after pruning, and those that a search measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoestring.escaping import write_csv
from shoestring.evaluation.metrics import wilson_interval
from shoestring.evaluation.tasks import AnyPredictions
from shoestring.runs.session import Run
from shoestring.runtime.files import atomic_write, write_json

PARETO = "pareto.json"
_COSTS = ("macs", "params", "file_bytes")
_LATENCIES = ("latency_ms", "onnx_one_thread_ms", "onnx_all_threads_ms")
_COLUMNS = ("network", "accuracy", "low", "high", *_COSTS, *_LATENCIES)


def write_pareto(run: Run, after: Mapping[str, Any], validation: AnyPredictions) -> None:
    """Write `pareto.json` and `pareto.csv`: one point for each network, with its accuracy and costs.

    `after` are the costs of the final network, `validation` its predictions of the validation images. Networks that the
    search for a latency measured were not trained, so they have no accuracy.
    """
    recorded = run.folder.run.get("before_pruning")
    if recorded is None:
        return
    latencies, images = run.folder.run.get("pruning_latencies", {}), len(validation)
    both = (("before", recorded["validation"], recorded), ("after", validation.accuracy, after))
    points = [
        {"network": name, **_accuracy(accuracy, images), **_some(costs, _COSTS), **latencies.get(name, {})}
        for name, accuracy, costs in both
    ]
    tried = run.folder.run.get("latency_search") or []
    points += [{"network": f"measured {number}", **costs} for number, costs in enumerate(tried, 1)]
    points = [{name: point.get(name) for name in _COLUMNS} for point in points]
    folder = run.folder / "prune"
    write_json(folder / PARETO, {"split": "validation", "finished": recorded["finished"], "points": points})
    with atomic_write(folder / "pareto.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
        write_csv(out, _COLUMNS, (["" if value is None else value for value in point.values()] for point in points))


def _accuracy(accuracy: float | None, images: int) -> dict[str, float]:
    """Return an accuracy with its 95 % interval; nothing without images."""
    if accuracy is None or not images:
        return {}
    low, high = wilson_interval(round(accuracy * images), images)
    return {"accuracy": accuracy, "low": low, "high": high}


def _some(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names}
