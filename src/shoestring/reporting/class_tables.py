"""Tables of a page about classes or labels: metrics, confusions, and what pruning changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shoestring.config.units import format_interval, format_percent
from shoestring.reporting.multi_label import is_multi_label
from shoestring.reporting.run_data import RunData
from shoestring.reporting.tables import Table

_MAX_CONFUSIONS = 20  # rows


def class_table(run: RunData) -> Table:
    """Return the metrics of each class or label."""
    labels = is_multi_label(run.result)
    rows = []
    for name, entry in run.result["per_class"].items():
        recall, precision, f1 = (format_percent(entry[key]) for key in ("recall", "precision", "f1"))
        row = [name, f"{entry['images']:,}", recall, format_interval(run.intervals.get(name)), precision, f1]
        if labels:
            row.insert(2, format_percent(entry["average_precision"]))
            row += [f"{count:,}" for count in run.errors[name]] if name in run.errors else ["-", "-"]
        rows.append(row)
    header = ["label" if labels else "class", "images", "recall", "95 % interval", "precision", "F1"]
    if labels:
        header.insert(2, "average precision")
        header += ["missed", "not there"]
    return Table(header, rows)


def change_table(run: RunData) -> Table | None:
    """Return the recall of each class before and after pruning, on validation images; None without it."""
    if run.comparison is None:
        return None
    rows = [
        (
            entry["name"],
            f"{entry['images']:,}",
            format_percent(entry["before"]),
            format_percent(entry["after"]),
            f"{100 * entry['change']:+.1f}",
            " to ".join(f"{100 * bound:+.1f}" for bound in entry["interval"]),
            f"{entry['p_value']:.2g}" if "p_value" in entry else "",  # missing in runs of earlier versions
        )
        for entry in run.comparison["per_class"]
    ]
    header = ("class", "images", "recall before", "recall after", "change in points", "95 % interval")
    return Table((*header, "adjusted p-value"), rows)


def change_notes(run: RunData) -> Iterator[str]:
    """Say in sentences what pruning changed, beside the table."""
    comparison = run.comparison
    if comparison is None:
        return
    low, high = (100 * bound for bound in comparison["interval"])
    yield (
        f"On the same {comparison['images']:,} validation images, accuracy changed by "
        f"{100 * comparison['change']:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}): "
        f"{comparison['fixed']:,} wrong predictions became right, and {comparison['broken']:,} right ones wrong."
    )
    if not comparison["finished"]:
        yield '"Before" is the network when it was pruned; its training went on afterwards.'
    harmed = comparison["most_harmed"]
    yield (
        f"Lost more than chance explains, given the number of classes: {', '.join(harmed)}."
        if harmed
        else "No class lost more than chance explains, given the number of classes."
    )
    if confusions := comparison["confusions"][:3]:
        texts = [f"{one['name']} as {one['predicted']} ({one['before']} to {one['after']})" for one in confusions]
        yield f"More frequent confusions: {', '.join(texts)}."


def examples(run: RunData) -> list[dict[str, Any]]:
    """Return the cells of the confusion matrix that have pictures, the largest first."""
    names, counts = run.classes, {(label, predicted): images for label, predicted, images in run.cells}
    return [
        {
            "anchor": _anchor(*cell),
            "label": f"{names[cell[0]]}, predicted as {names[cell[1]]}: {_images(counts[cell])}",
            "pictures": pictures,
        }
        for cell, pictures in sorted(run.gallery.cells.items(), key=lambda item: -counts[item[0]])
    ]


def confusion_matrix(run: RunData, examples: Sequence[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the rows of the confusion matrix; cells with examples have an anchor."""
    names, anchors = run.classes, {entry["anchor"] for entry in examples}
    counts = {(label, predicted): images for label, predicted, images in run.cells}
    rows = []
    for label in range(len(names)):
        total = sum(counts.get((label, other), 0) for other in range(len(names)))
        row = []
        for predicted in range(len(names)):
            count, anchor = counts.get((label, predicted), 0), _anchor(label, predicted)
            row.append(
                {
                    "count": count,
                    "part": count / total if total else 0.0,
                    "diagonal": label == predicted,
                    "anchor": anchor if anchor in anchors else None,
                    "label": f"{_images(count)} of {names[label]} predicted as {names[predicted]}",
                }
            )
        rows.append(row)
    return rows


def frequent_confusions(run: RunData) -> list[Sequence[str]]:
    """Return the rows of a table of the most frequent confusions, for many classes."""
    names, per_class = run.classes, run.result["per_class"]
    wrong = sorted((cell for cell in run.cells if cell[0] != cell[1]), key=lambda cell: -cell[2])[:_MAX_CONFUSIONS]
    return [
        (
            names[label],
            names[predicted],
            f"{images:,}",
            format_percent(images / per_class[names[label]]["images"]),
        )
        for label, predicted, images in wrong
    ]


def _anchor(label: int, predicted: int) -> str:
    return f"confusion-{label}-{predicted}"


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"
