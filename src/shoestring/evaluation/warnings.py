"""Warnings about results: training that collapsed, pruning that lost accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from shoestring.config.units import format_percent
from shoestring.tasks import MULTI_LABEL

_CHANCE_LOSS = 0.98  # fraction of ln(classes) from which the loss counts as that of uniform probabilities
_MAX_NAMES = 5  # classes per warning
_Z = 1.96  # standard errors by which accuracy must drop


def find_warnings(metrics: Mapping[str, Any]) -> list[str]:
    """Return warnings about metrics as of `as_dict`: none for a model that learned to separate the classes or labels.

    They are raised for an accuracy whose 95 % interval includes that of always predicting the most frequent class, for
    a loss no better than that of uniform probabilities, and for classes that have images but are never predicted.
    Nothing else is checked without images, or if all are of a single class. With several labels per image, they are
    raised for labels that are ranked no better than at random, and for labels that are never predicted.
    """
    if not metrics["images"]:
        return [f"there are no {metrics['split']} images, so the accuracy was not measured"]
    if metrics.get("task") == MULTI_LABEL.name:
        return _label_warnings(metrics)
    counts = {name: entry["images"] for name, entry in metrics["per_class"].items() if entry["images"]}
    if len(counts) < 2:
        return []
    warnings, baseline = [], max(counts.values()) / metrics["images"]
    if metrics["interval"][0] <= baseline:
        warnings.append(
            f"accuracy {format_percent(metrics['accuracy'])} on {metrics['images']:,} images is not significantly "
            f"better than always predicting the most frequent class ({format_percent(baseline)})"
        )
    classes = len(metrics["per_class"])
    if not metrics["loss"] < _CHANCE_LOSS * math.log(classes):
        warnings.append(
            f"loss {metrics['loss']:.3f} is no better than that of equal probabilities for all {classes:,} classes "
            f"({math.log(classes):.3f})"
        )
    if never := [name for name in counts if metrics["per_class"][name]["precision"] is None]:
        verb = "is" if len(never) == 1 else "are"
        warnings.append(f"{len(never):,} of {len(counts):,} classes {verb} never predicted: {_listed(never)}")
    return warnings


def _label_warnings(metrics: Mapping[str, Any]) -> list[str]:
    """Return warnings about labels that some images have, and others do not."""
    images, labels = metrics["images"], metrics["per_class"]
    varied = [name for name, entry in labels.items() if 0 < entry["images"] < images]
    random = [name for name in varied if labels[name]["average_precision"] <= labels[name]["images"] / images]
    never = [name for name in varied if labels[name]["precision"] is None]
    problems = {"ranked no better than at random": random, "never predicted": [n for n in never if n not in random]}
    return [
        f"{len(names):,} of {len(varied):,} labels {'is' if len(names) == 1 else 'are'} {problem}: {_listed(names)}"
        for problem, names in problems.items()
        if names
    ]


def pruning_warnings(before: float | None, after: float | None, images: int) -> list[str]:
    """Return a warning if pruning lowered accuracy on so many validation images significantly.

    Accuracies are None without images.
    """
    if before is None or after is None:
        return []
    error = math.sqrt((before * (1 - before) + after * (1 - after)) / images)
    if before - after <= _Z * error:
        return []
    return [f"validation accuracy fell from {format_percent(before)} before pruning to {format_percent(after)}"]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {more:,} more" if more > 0 else "")
