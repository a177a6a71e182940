"""What the report of a run is made from: plain values, read from the run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shoestring.reporting.pictures import Gallery

Curve = tuple[list[float], list[float]]  # seconds, values


@dataclass(frozen=True)
class RunData:
    """The values of a run, which is finished unless `unfinished` says otherwise.

    `data_name` is that of the data set; `result`, `plan` and `environment` are those of run.json, `trainings` its
    summaries of training and recovery, `history` the rows of history.jsonl, and `recipe` the text of recipe.yaml.
    `cells` are the nonzero cells of the confusion matrix (class, predicted class, images), `intervals` the 95 %
    interval of the recall of each class, `reliability` the bins of `evaluation.reliability`, and `layers` the output
    channels of each layer before and after pruning; `layer_costs` are all costs of each layer before and after,
    `clusters` its channels and clusters of filters, `comparison` is the content of comparison.json, and `points` are
    the accuracy and costs of the networks before and after pruning and of those measured. `errors` says of each label
    how many images it was missed on, and predicted for without being there. `left_out` says which parts
    are missing, and why, and `unfinished` in what state a run is that has no results yet.
    """

    name: str
    data_name: str
    result: Mapping[str, Any]
    trainings: Sequence[Mapping[str, Any]]
    plan: Mapping[str, Any] | None
    environment: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    recipe: str
    cells: Sequence[tuple[int, int, int]] = ()
    intervals: Mapping[str, tuple[float, float] | None] = field(default_factory=dict)
    reliability: Sequence[Mapping[str, Any]] = ()
    layers: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    layer_costs: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = field(default_factory=dict)
    clusters: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    comparison: Mapping[str, Any] | None = None
    points: Sequence[Mapping[str, Any]] = ()
    errors: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    gallery: Gallery = field(default_factory=Gallery.empty)
    left_out: Sequence[str] = ()
    unfinished: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of their indices."""
        return tuple(self.result["per_class"])

    @property
    def loss(self) -> Curve:
        """The training loss over seconds."""
        return _curve(self.history, "loss")

    @property
    def validation(self) -> Curve:
        """The validation accuracy over seconds, where it was measured."""
        return _curve(self.history, "validation")

    @property
    def losses(self) -> dict[str, Curve]:
        """The loss over seconds, of training images and, where it was measured more than once, of validation images."""
        validation = _curve(self.history, "validation_loss")
        return {"training": self.loss, **({"validation": validation} if len(validation[0]) > 1 else {})}

    @property
    def augment(self) -> Mapping[str, Any]:
        """The augmentation of the training, as in the plan; empty if only a head was fitted."""
        train = (self.plan or {}).get("train") or {}
        stepped = self.unfinished or any(part["steps"] for part in self.trainings)
        return train.get("augment") or {} if stepped else {}

    @property
    def marks(self) -> list[tuple[float, str]]:
        """When the network grew and when it was cut: seconds and a text."""
        marks, before = [], None
        for row in self.history:
            if row.get("step") not in ("train", "prune") or "side" not in row:
                continue
            now = {name: row[name] for name in ("step", "side", "width", "depth") if name in row}
            if before is not None and now != before:
                marks.append((row["seconds"], _change(before, now)))
            before = now
        return marks


def _curve(history: Sequence[Mapping[str, Any]], name: str) -> Curve:
    rows = [row for row in history if row.get("step") != "select" and isinstance(row.get(name), int | float)]
    return [row["seconds"] for row in rows], [row[name] for row in rows]


def _change(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Describe a change: "width 1, 32 px", or "pruned"."""
    if before["step"] != now["step"]:
        return "pruned"
    parts = [f"{name} {now.get(name, 1.0):g}" for name in ("width", "depth") if now.get(name) != before.get(name)]
    return ", ".join([*parts, *([f"{now['side']} px"] if now["side"] != before["side"] else [])])
