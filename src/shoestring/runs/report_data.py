"""Read what the report of a run is made from: values of its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shoestring.config.model_files import TENSORS_FILE, model_folder
from shoestring.evaluation.metrics import wilson_interval
from shoestring.evaluation.reliability import reliability_bins
from shoestring.reporting.pictures import Gallery
from shoestring.reporting.run_data import RunData
from shoestring.runs.directory import RunDir
from shoestring.runs.pareto import PARETO
from shoestring.runs.predictions_file import AnyTestPredictions, LabelTestPredictions, TestPredictions
from shoestring.runs.pruning import LAYERS
from shoestring.runtime.files import read_json


def collect(
    folder: RunDir,
    result: Mapping[str, Any],
    gallery: Gallery | None,
    predictions: AnyTestPredictions | None = None,
    *,
    missing: str = "",
    unfinished: str = "",
) -> RunData:
    """Read what the report of a run is made from; `unfinished` is the state of a run without results."""
    content, recipe = folder.run, folder / "recipe.yaml"
    before, after, clusters = _layer_costs(folder)
    return RunData(
        name=folder.path.name,
        data_name=content.get("data", {}).get("name", "unknown data"),
        result=result,
        trainings=[content[name] for name in ("training", "recovery") if content.get(name)],
        plan=content.get("plan"),
        environment=content.get("surroundings", {}),
        history=folder.history(),
        recipe=recipe.read_text(encoding="utf-8") if recipe.exists() else "",
        cells=_cells(folder) if isinstance(predictions, TestPredictions) else [],
        intervals={name: _interval(entry) for name, entry in result["per_class"].items()},
        reliability=_reliability(predictions),
        layers=_in_order(_layers(folder, content), before),
        layer_costs={name: (cost, after[name]) for name, cost in before.items() if name in after},
        clusters=clusters,
        comparison=_comparison(folder, result),
        points=_points(folder, result),
        errors=_errors(predictions, tuple(result["per_class"])),
        gallery=gallery or Gallery.empty(),
        left_out=[missing] if missing else [],
        unfinished=unfinished,
    )


def _cells(folder: RunDir) -> list[tuple[int, int, int]]:
    metrics = folder / "evaluate" / "metrics.json"
    return [tuple(cell) for cell in read_json(metrics)["confusion"]] if metrics.exists() else []


def _reliability(predictions: AnyTestPredictions | None) -> list[dict[str, Any]]:
    """Bins of confidence; all choices of labels together."""
    if predictions is None or not len(predictions):
        return []
    return reliability_bins(predictions.confidence.ravel(), (predictions.labels == predictions.predicted).ravel())


def _errors(predictions: AnyTestPredictions | None, labels: Sequence[str]) -> dict[str, tuple[int, int]]:
    """On how many images each label was missed, and predicted without being there; empty for classes."""
    if not isinstance(predictions, LabelTestPredictions):
        return {}
    true, predicted = predictions.labels > 0, predictions.predicted > 0
    missed, added = (true & ~predicted).sum(0).tolist(), (predicted & ~true).sum(0).tolist()
    return dict(zip(labels, zip(missed, added)))


def _comparison(folder: RunDir, result: Mapping[str, Any]) -> dict[str, Any] | None:
    file = folder / "prune" / "comparison.json"
    return read_json(file) if result["before_pruning"] and file.exists() else None


def _points(folder: RunDir, result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Accuracy and costs of the networks before and after pruning, and of those measured; empty without pruning."""
    file = folder / "prune" / PARETO
    return read_json(file)["points"] if result["before_pruning"] and file.exists() else []


def _layer_costs(folder: RunDir) -> tuple[dict[str, Any], dict[str, Any], dict[str, tuple[int, int]]]:
    """Costs of the layers before and after pruning, and their clusters; empty for runs that did not measure them."""
    file = folder / "prune" / LAYERS
    content = read_json(file) if file.exists() else {}
    return content.get("before", {}), content.get("after", {}), content.get("clusters", {})


def _interval(entry: Mapping[str, Any]) -> tuple[float, float] | None:
    if entry["recall"] is None:
        return None
    return wilson_interval(round(entry["recall"] * entry["images"]), entry["images"])


def _layers(folder: RunDir, content: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Output channels of each layer before and after pruning; empty for a network that is not pruned."""
    start = content["recipe"].get("start")
    before = folder / "train" if start is None else model_folder(Path(start))
    files = [path / TENSORS_FILE for path in (before, folder / "prune") if path is not None]
    if len(files) < 2 or not all(file.exists() for file in files):
        return {}
    first, last = map(_output_channels, files)
    return {name: (count, last[name]) for name, count in first.items() if name in last}


def _in_order(layers: Mapping[str, tuple[int, int]], costs: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Return the layers in the order of the network, as far as it is known."""
    return {**{name: layers[name] for name in costs if name in layers}, **layers}


def _output_channels(file: Path) -> dict[str, int]:
    """Length of the first axis of each weight of at least two axes, by the name of its layer."""
    from safetensors import safe_open

    with safe_open(file, "numpy") as tensors:
        shapes = {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118
    return {name.removesuffix(".weight"): shape[0] for name, shape in shapes.items() if len(shape) > 1}
