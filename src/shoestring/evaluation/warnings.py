"""What is wrong with a result at first sight, as sentences: a training that collapsed, a cut that cost too much."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

_NEAR = 0.98  # fraction of ln(classes) from which the loss counts as that of equal probabilities
_NAMED = 5  # classes named in one sentence
_SURE = 1.96  # standard errors by which accuracy falls before the cut is blamed


def find_warnings(figures: Mapping[str, Any]) -> list[str]:
    """Sentences on metrics as `Metrics.as_dict` has them, none for a model that tells its classes apart.

    They are about an accuracy that always predicting the most frequent class would reach too (the 95 % interval reaches
    down to it), a loss that equal probabilities for all classes would have too, and classes that have images and are
    never predicted. Of a single class nothing is said.
    """
    counts = {name: entry["images"] for name, entry in figures["per_class"].items() if entry["images"]}
    if len(counts) < 2:
        return []
    found, chance = [], max(counts.values()) / figures["images"]
    if figures["interval"][0] <= chance:
        found.append(
            f"accuracy {_percent(figures['accuracy'])} on {figures['images']:,} images cannot be told from that of "
            f"always predicting the most frequent class ({_percent(chance)})"
        )
    classes = len(figures["per_class"])
    if not figures["loss"] < _NEAR * math.log(classes):
        found.append(
            f"loss {figures['loss']:.3f} is no better than that of equal probabilities for all {classes:,} classes "
            f"({math.log(classes):.3f})"
        )
    if never := [name for name in counts if figures["per_class"][name]["precision"] is None]:
        verb = "is" if len(never) == 1 else "are"
        found.append(f"{len(never):,} of {len(counts):,} classes {verb} never predicted: {_listed(never)}")
    return found


def cut_warnings(before: float | None, after: float | None, images: int) -> list[str]:
    """A sentence where accuracy on so many validation images fell by the cut, by more than chance explains.

    Accuracies are None where there are no images.
    """
    if before is None or after is None:
        return []
    error = math.sqrt((before * (1 - before) + after * (1 - after)) / images)
    if before - after <= _SURE * error:
        return []
    return [f"validation accuracy fell from {_percent(before)} before pruning to {_percent(after)}"]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"
