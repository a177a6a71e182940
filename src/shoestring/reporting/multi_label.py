"""What a report says about metrics of several labels per image, in place of those of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoestring.config.units import format_interval, format_percent
from shoestring.tasks import MULTI_LABEL

CLASS_COLUMNS = {"class": None, "images": "images", "recall": "recall", "precision": "precision", "F1": "f1"}
LABEL_COLUMNS = {
    "label": None,
    "images": "images",
    "average precision": "average_precision",
    "recall": "recall",
    "precision": "precision",
    "F1": "f1",
}


def is_multi_label(result: Mapping[str, Any]) -> bool:
    """Whether results are of several labels per image."""
    return result.get("task") == MULTI_LABEL.name


def label_headline(result: Mapping[str, Any], images: str) -> str:
    """Summarize results on the described images in one sentence."""
    precision = format_percent(result["macro_average_precision"])
    return f"Mean average precision {precision}, all labels right {_exact(result)} on {images}"


def label_rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the rows on how good the predictions of labels are."""
    return [
        ("mean average precision", format_percent(result["macro_average_precision"])),
        ("macro F1, micro F1", ", ".join(format_percent(result[name]) for name in ("macro_f1", "micro_f1"))),
        ("all labels right", _exact(result)),
    ]


def class_table(result: Mapping[str, Any]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Return header and rows of the table of classes or labels, as text."""
    columns = LABEL_COLUMNS if is_multi_label(result) else CLASS_COLUMNS
    figures = [key for key in columns.values() if key not in (None, "images")]
    rows = [
        [name, str(entry["images"]), *(format_percent(entry[key]) for key in figures)]
        for name, entry in result["per_class"].items()
    ]
    return tuple(columns), rows


def _exact(result: Mapping[str, Any]) -> str:
    return f"{format_percent(result['accuracy'])} ({format_interval(result['interval'])})"
