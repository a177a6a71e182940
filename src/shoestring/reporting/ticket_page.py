"""The page of a lottery ticket experiment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shoestring.config.tickets import CONTROLS
from shoestring.config.units import format_percent, format_seconds
from shoestring.reporting.drawing import Chart, draw
from shoestring.reporting.html import render
from shoestring.reporting.tickets import grid_of


def ticket_page(result: Mapping[str, Any], chart: Chart | None) -> str:
    """Render the page of an experiment with these results, as in run.json, and its `ticket_chart`."""
    header, rows = grid_of(result["summary"])
    networks = {entry["network"] for entry in result["summary"]}
    return render(
        "tickets.html",
        model=result["model"],
        headline=_headline(result),
        chart=chart,
        header=header,
        rows=rows,
        notes=result["notes"],
        controls=[(name, text) for name, text in CONTROLS.items() if name in networks],
        facts=list(_facts(result)),
        written="",
    )


def _headline(result: Mapping[str, Any]) -> str:
    """Summarize what was found by the validation images of the first seed, which the saved network is chosen by."""
    best, seeds = result["winner"], max(entry["seeds"] for entry in result["summary"])
    where = "on the validation images" + (" of the first seed" if seeds > 1 else "")
    if best is None or best["network"] == "dense":
        return f"No lottery ticket is as accurate as the dense network {where}"
    ticket = f"A lottery ticket with {100 * best['weights']:.3g} % of the weights"
    return ticket if best["validation"] is None else f"{ticket} is as accurate as the dense network {where}"


def _facts(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    seeds = {entry["seeds"] for entry in result["summary"]}
    yield "network", result["model"]
    yield "training images", f"{result['examples']:,}"
    yield "accuracy measured on", _images(result)
    yield "repetitions (seeds)", f"{max(seeds)}"
    yield "time", format_seconds(result["seconds"])


def _images(result: Mapping[str, Any]) -> str:
    if result["test_images"]:
        return f"{result['test_images']:,} test images"
    return f"{result['validation_images']:,} validation images"


def ticket_chart(result: Mapping[str, Any]) -> Chart | None:
    """Draw the accuracy over the weights that remain; None without the dense network or tickets."""
    from shoestring.reporting.pruning_charts import Point, plot_tickets

    measured = [entry for entry in result["summary"] if entry["mean"] is not None]
    dense = next((entry for entry in measured if entry["network"] == "dense"), None)
    if dense is None:
        return None
    curves: dict[str, list[Point]] = {}
    for entry in measured:
        if entry["network"] != "dense":
            point = (entry["weights"], entry["mean"], entry["interval"] and tuple(entry["interval"]))
            curves.setdefault(entry["network"], []).append(point)
    if not curves:
        return None
    smallest = {name: points[-1] for name, points in curves.items()}
    ends = ", ".join(f"{name} {format_percent(mean)}" for name, (_, mean, _) in smallest.items())
    weights = next(iter(smallest.values()))[0]
    caption = f"Dense network: {format_percent(dense['mean'])}. With {100 * weights:.3g} % of the weights: {ends}."
    caption += " Lines are 95 % intervals over seeds." if dense["interval"] else ""
    return draw("tickets", caption, plot_tickets, curves, (dense["mean"], dense["interval"]), height=3.6)
