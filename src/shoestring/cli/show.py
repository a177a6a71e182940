"""Results as short tables on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shoestring.config.units import format_percent
from shoestring.escaping import printable
from shoestring.reporting.answers import answers
from shoestring.reporting.markdown import summary
from shoestring.reporting.multi_label import is_multi_label

_UNLIMITED = 1_000_000  # columns, so that nothing is truncated


def show(verb: str, result: dict[str, Any]) -> None:
    """Print the results of a verb."""
    if verb == "select":
        two_columns(_selection(result))
        return
    if verb == "plan":
        _plan(result)
        return
    if verb == "sensitivity":
        _sensitivity(result)
        return
    two_columns(summary(result))
    key, what = ("average_precision", "labels") if is_multi_label(result) else ("recall", "classes")
    measured = [(name, entry) for name, entry in result["per_class"].items() if entry[key] is not None]
    if measured:
        weakest = sorted(measured, key=lambda entry: entry[1][key])[:3]
        figures = ", ".join(f"{name} {format_percent(entry[key])}" for name, entry in weakest)
        print(printable(f"weakest {what}: {figures}"))
    page = "index.html" if Path(result["out"], "report", "index.html").exists() else "report.md"  # for lack of time
    print(printable(f"saved to {result['out']}: report/{page}, {'evaluate/, ' if measured else ''}model"))


def _selection(result: dict[str, Any]) -> list[tuple[str, str]]:
    kept = f", {result['kept']:,} of them from the earlier subset" if result["kept"] else ""
    rows = [("images", f"{result['examples']:,} by {result['method']}{kept}")]
    if result["per_class"] is not None:
        rows.append(("images per class", ", ".join(f"{name} {count}" for name, count in result["per_class"].items())))
    if result["left_out"]:
        rows.append(("excluded", f"{result['left_out']:,} images"))
    if duplicates := result.get("test_images_in_training"):
        rows.append(("test images with near duplicates in training", f"{len(duplicates):,}, such as {duplicates[0]}"))
    return [*rows, ("file", result["subset"]), ("time", f"{result['seconds']:.1f} s")]


def _sensitivity(result: dict[str, Any]) -> None:
    print(f"each layer pruned alone by {result['method']}, on {result['images']:,} {result['split']} images:")
    grid(
        ("layers", "channels", "kept", "loss", "predictions changed", "accuracy", "MACs", "parameters"),
        (
            [
                row["group"],
                str(row["channels"]),
                str(row["kept"]),
                f"{row['loss']:.4f}",
                format_percent(row["changed"]),
                format_percent(row["accuracy"]),
                f"{row['macs']:,}",
                f"{row['params']:,}",
            ]
            for row in result["groups"]
        ),
    )


def _plan(result: dict[str, Any]) -> None:
    budget, training = result["budget"], result["training"]
    unit = {"seconds": "s", "epochs": "epochs", "flops": "FLOPs"}[budget["unit"]]
    parts = [f"{budget[step]:.4g} {step}" for step in budget if step not in ("unit", "total") and budget[step]]
    two_columns(
        [
            ("budget", f"{budget['total']:.4g} {unit}: {', '.join(parts)}"),
            ("training images", f"{result['examples']:,}, {training['epochs']:.1f} epochs"),
            ("parameters, MACs per image", f"{training['parameters']:,}, {training['macs']:,}"),
        ]
    )
    grid(("answer", "value", "reason"), answers(result["plan"]))
    grid(("stage", "width", "depth", "resolution", "fraction", "images/s", "epochs", "steps"), _stages(training))


def _stages(training: dict[str, Any]) -> Iterable[Sequence[str]]:
    for number, phase in enumerate(training["phases"], 1):
        speed = "-" if phase["images_per_second"] is None else f"{phase['images_per_second']:,.0f}"
        sizes = [f"{phase[name]:.3g}" for name in ("width", "depth", "side")]
        work = [f"{100 * phase['fraction']:.0f} %", speed, f"{phase['epochs']:.2f}", f"{phase['steps']:,}"]
        yield [str(number), *sizes, *work]


def two_columns(rows: Iterable[Sequence[str]]) -> None:
    """Print names and values side by side."""
    grid(("", ""), rows)


def grid(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; in a log file, it is as wide as its content."""
    table = Table(box=box.SIMPLE if any(header) else None, show_header=any(header), pad_edge=False)
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    width = None if sys.stdout.isatty() else _UNLIMITED
    console = Console(highlight=False, markup=False, emoji=False, width=width, soft_wrap=True)
    if width is None:
        console.print(table)
        return
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        print(line.rstrip())  # not padded to the width of the table
