"""Tables of a page about size and speed: of the network, of its layers, and clusters of filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shoestring.config.units import format_percent
from shoestring.reporting.markdown import a_single_image, latency
from shoestring.reporting.run_data import RunData
from shoestring.reporting.tables import Table


def size_table(run: RunData) -> Table:
    """Return size and speed of the network, with a column for the network before pruning if there was one."""
    result = run.result
    before, costs = result["before_pruning"], result.get("prediction") or result
    points = {} if run.comparison is None else run.comparison.get("points", {})
    first, last = points.get("before", {}), points.get("after", {})
    slow, fast = _milliseconds(first), _milliseconds(last)  # measured alike
    rows = [
        ("parameters", before and f"{before['params']:,}", f"{result['params']:,}"),
        ("MACs per forward pass", before and f"{before['macs']:,}", f"{result['macs']:,}"),
        ("validation accuracy", before and format_percent(before["validation"]), format_percent(result["validation"])),
        ("file", before and _megabytes(first.get("file_bytes")), _megabytes(result["file_bytes"])),
        ("latency per forward pass", before and slow, fast or latency(dict(result))),
        ("forward passes per prediction", before and "", f"{costs.get('passes', 1.0):.3g}"),
        ("latency per prediction", before and "", latency(dict(costs))),
    ]
    header = ("", "before pruning", "final") if before else ("", "value")
    return Table(header, [row if before else (row[0], row[2]) for row in rows])


def _megabytes(size: float | None) -> str:
    return "" if size is None else f"{size / 1e6:.2f} MB"


def _milliseconds(point: Mapping[str, Any]) -> str:
    return f"{point['latency_ms']:.2f} ms for {a_single_image(point)}" if "latency_ms" in point else ""


def layer_table(run: RunData) -> Table | None:
    """Return channels, parameters, MACs and latency of each layer before and after pruning; None if not measured."""
    if not run.layer_costs:
        return None
    header = ("layer", "output channels", "parameters", "MACs", "latency in ms")
    return Table(header, [_layer_row(name, before, after) for name, (before, after) in run.layer_costs.items()])


def _layer_row(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Sequence[str]:
    counts = [f"{before[key]:,} to {after[key]:,}" for key in ("channels", "params", "macs")]
    return (name, *counts, f"{before['latency_ms']:.3f} to {after['latency_ms']:.3f}")
