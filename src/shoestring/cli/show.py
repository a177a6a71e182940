"""Results for people, as a short table on stdout."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from shoestring.report.markdown import percent, summary


def show(verb: str, result: dict[str, Any]) -> None:
    """The results of a verb."""
    if verb == "select":
        two_columns(_chosen(result))
        return
    two_columns(summary(result))
    weakest = sorted(result["per_class"].items(), key=lambda entry: entry[1]["recall"] or 0.0)[:3]
    print("weakest classes: " + ", ".join(f"{name} {percent(entry['recall'])}" for name, entry in weakest))
    print(f"left in {result['out']}: report/report.md, evaluate/, model")


def _chosen(result: dict[str, Any]) -> list[tuple[str, str]]:
    kept = f", {result['kept']:,} of them chosen before" if result["kept"] else ""
    rows = [("images", f"{result['examples']:,} by {result['method']}{kept}")]
    if result["per_class"] is not None:
        rows.append(("of each class", ", ".join(f"{name} {count}" for name, count in result["per_class"].items())))
    if result["left_out"]:
        rows.append(("left out first", f"{result['left_out']:,} images"))
    if copies := result.get("test_images_in_training"):
        rows.append(("test images with a copy in training", f"{len(copies):,}, {copies[0]} for one"))
    return [*rows, ("file", result["subset"]), ("time", f"{result['seconds']:.1f} s")]


def two_columns(rows: Iterable[Sequence[str]]) -> None:
    """What and how much, side by side."""
    grid(("", ""), rows)


def grid(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A plain table that also reads well in a log file."""
    table = Table(box=box.SIMPLE if any(header) else None, show_header=any(header), pad_edge=False)
    for index, name in enumerate(header):
        table.add_column(name, no_wrap=index == 0, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False, soft_wrap=True).print(table)
