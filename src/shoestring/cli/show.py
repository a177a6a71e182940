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
        counts = ", ".join(f"{name} {count}" for name, count in result["per_class"].items())
        rows = [("images", f"{result['examples']:,} by {result['method']}"), ("of each class", counts)]
        two_columns([*rows, ("file", result["subset"]), ("time", f"{result['seconds']:.1f} s")])
        return
    two_columns(summary(result))
    weakest = sorted(result["per_class"].items(), key=lambda entry: entry[1]["recall"] or 0.0)[:3]
    print("weakest classes: " + ", ".join(f"{name} {percent(entry['recall'])}" for name, entry in weakest))
    print(f"left in {result['out']}: report/report.md, evaluate/, model")


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
