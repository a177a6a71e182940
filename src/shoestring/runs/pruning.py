"""What pruning cost: the network before and after, on the same validation images; files of the `prune/` folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from shoestring import execute
from shoestring.data import Images
from shoestring.escaping import write_csv
from shoestring.evaluation.comparison import Comparison, compare
from shoestring.evaluation.cost import count_macs, count_params, file_bytes, measure_cost
from shoestring.evaluation.layer_costs import measure_layers
from shoestring.evaluation.metrics import Predictions
from shoestring.evaluation.tasks import AnyPredictions
from shoestring.models.model import Model
from shoestring.pruning.inputs import example_image
from shoestring.pruning.latency import Measurement, measure_latency
from shoestring.runs.session import Run
from shoestring.runtime.files import atomic_write, write_json

LAYERS = "layers.json"
_PREDICTED = "prune/predicted_before.npy"
_SECONDS = 0.3  # of timing, of which a single image on one thread takes a third
_LAYER_SECONDS, _LAYER_FRACTION = 0.1, 0.002  # of timing layers, twice; of a time budget, at most


def measure_before(run: Run, model: Model, validation: Images) -> dict[str, Any]:
    """Return validation accuracy and costs of the network to prune as plain values; keep its predictions in a file."""
    accuracy = None
    if len(validation):
        predictions = execute.predict(model, validation)
        accuracy = predictions.accuracy
        if isinstance(predictions, Predictions):
            run.folder.check_exists()
            with atomic_write(run.folder / _PREDICTED) as temporary, temporary.open("wb") as out:
                np.save(out, predictions.predicted)
    return {
        "validation": accuracy,
        "macs": count_macs(model),
        "params": count_params(model.module),
        "file_bytes": file_bytes(model.module),
        "finished": run.recipe.start is not None,
    }


def measure_latencies(run: Run, model: Model) -> dict[str, Any]:
    """Return latencies of a network in milliseconds; in ONNX Runtime only if a latency is the target."""
    cost = measure_cost(model, device=run.context.device, seconds=_SECONDS, limit=0.0)
    latencies: dict[str, Any] = {"latency_ms": cost.latency_ms, "latency_threads": cost.latency_threads}
    if run.recipe.prune.latency is not None:
        onnx = measure_latency(model.module, example_image(model))
        latencies |= {f"onnx_{threads}_ms": value for threads, value in asdict(onnx).items()}
    return latencies


class CutMeasurements:
    """Latencies of a network before and after it was pruned, costs of its layers, and its clusters of filters.

    `tried` are the costs of all networks that the search for a latency measured.
    """

    def __init__(self, run: Run, model: Model) -> None:
        self._run, self._layers, self._clusters = run, dict[str, Any](), dict[str, tuple[int, int]]()
        self.latencies: dict[str, dict[str, Any]] = {}
        self.tried: list[dict[str, Any]] = []
        self._measure("before", model)

    def on_cut(self, pruned: Model, clusters: Mapping[str, tuple[int, int]] | None) -> None:
        """Measure the pruned network; `clusters` are the channels and clusters by layer, if there are any."""
        self._clusters = dict(clusters or {})
        self._measure("after", pruned)

    def on_measured(self, measurement: Measurement) -> None:
        """Keep the costs of a network that the search for a latency measured."""
        self.tried.append(asdict(measurement))

    def _measure(self, when: str, model: Model) -> None:
        self.latencies[when] = measure_latencies(self._run, model)
        budget, seconds = self._run.budget, _LAYER_SECONDS
        if budget.unit == "seconds":
            seconds = min(seconds, _LAYER_FRACTION * budget.total)
        costs = measure_layers(model, seconds=seconds)
        self._layers[when] = {name: asdict(cost) for name, cost in costs.items()}

    def write(self, folder: Path) -> None:
        """Write `layers.json`: the costs of the layers before and after, and the clusters."""
        write_json(folder / LAYERS, {**self._layers, "clusters": self._clusters})


def write_layers(folder: Path, before: nn.Module, after: nn.Module) -> None:
    """Write `layers.csv`: shape and number of parameters of each weight before and after."""
    shapes = {name: tuple(weight.shape) for name, weight in after.named_parameters()}
    rows = (
        [name, _shape(weight.shape), _shape(shapes[name]), weight.numel(), int(np.prod(shapes[name]))]
        for name, weight in before.named_parameters()
        if name in shapes
    )
    header = ["parameter", "shape before", "shape after", "parameters before", "parameters after"]
    _write_csv(folder / "layers.csv", header, rows)


def write_comparison(run: Run, after: dict[str, Any], validation: AnyPredictions, classes: tuple[str, ...]) -> None:
    """Write what pruning cost as `comparison.json`, `per_class.csv` and `confusions.csv`, and add it to run.json.

    `after` are the costs of the final network, `validation` its predictions of the validation images. Only networks
    that predict one class for each image are compared.
    """
    recorded = run.folder.run.get("before_pruning")
    file = run.folder / _PREDICTED
    if recorded is None or not file.exists() or not isinstance(validation, Predictions) or not len(validation):
        return
    comparison = compare(validation.labels, np.load(file), validation.predicted, classes)
    costs, latencies = ("macs", "params", "file_bytes"), run.folder.run.get("pruning_latencies", {})
    points = {
        name: {
            "accuracy": accuracy,
            "interval": interval,
            **{key: source[key] for key in costs},
            **latencies.get(name, {}),
        }
        for name, accuracy, interval, source in (
            ("before", comparison.before, comparison.before_interval, recorded),
            ("after", comparison.after, comparison.after_interval, after),
        )
    }
    folder, content = run.folder / "prune", {"split": "validation", "finished": recorded["finished"], "points": points}
    write_json(folder / "comparison.json", {**content, **comparison.as_dict()})
    _write_tables(folder, comparison)
    summary = {"change": comparison.change, "interval": comparison.interval, "p_value": comparison.p_value}
    run.record(before_pruning={**recorded, **summary, "most_harmed": comparison.most_harmed})


def _write_tables(folder: Path, comparison: Comparison) -> None:
    _write_csv(
        folder / "per_class.csv",
        ["class", "images", "recall before", "recall after", "change", "low", "high", "p_value"],
        ([c.name, c.images, c.before, c.after, c.change, *c.interval, c.p_value] for c in comparison.per_class),
    )
    _write_csv(
        folder / "confusions.csv",
        ["class", "predicted", "before", "after"],
        ([c.name, c.predicted, c.before, c.after] for c in comparison.confusions),
    )


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with atomic_write(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
        write_csv(out, header, rows)
