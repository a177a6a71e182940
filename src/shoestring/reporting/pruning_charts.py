"""Charts of what pruning did, as matplotlib axes: layers, classes before and after, lottery tickets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from shoestring.reporting.style import (
    DASHES,
    INK,
    MARKERS,
    MUTED,
    SERIES,
    SURFACE,
    chart_style,
    name_rows,
    new_axes,
    row_chart_height,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[float, float, tuple[float, float] | None]  # fraction of weights, accuracy, its interval


def plot_layers(
    layers: Mapping[str, tuple[float, float]],
    *,
    quantity: str = "output channels",
    title: str = "Channels per layer",
    digits: int = 0,
    axes: Axes | None = None,
) -> Axes:
    """Draw a quantity of each layer before and after pruning: name -> (before, after), written with so many digits."""
    with chart_style():
        axes = new_axes(axes, height=row_chart_height(len(layers)))
        rows = range(len(layers))
        before, after = ([pair[side] for pair in layers.values()] for side in (0, 1))
        axes.barh(rows, before, height=0.7, color="none", edgecolor=MUTED, label="before")
        axes.barh(rows, after, height=0.7, color=SERIES[0], label="after")
        for row, (first, last) in enumerate(layers.values()):
            axes.annotate(
                f"{last:.{digits}f} (was {first:.{digits}f})",
                (max(first, last), row),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
        name_rows(axes, list(layers))
        axes.set_xlim(0, 1.3 * max([*before, *after], default=1))
        axes.set_xlabel(f"{quantity} (outline: before, filled: after)")
        axes.set_title(title)
    return axes


def plot_changes(changes: Mapping[str, tuple[float, tuple[float, float]]], *, axes: Axes | None = None) -> Axes:
    """Draw by how much the accuracy of each class changed, as a point with its interval: name -> (change, interval).

    Changes are differences of fractions. Classes that changed by more than chance explains have a filled point.
    """
    with chart_style():
        axes = new_axes(axes, height=row_chart_height(len(changes)))
        axes.axvline(0, color=MUTED, linestyle="--", linewidth=1.2)
        for row, (change, (low, high)) in enumerate(changes.values()):
            certain = low > 0 or high < 0
            axes.hlines(row, 100 * low, 100 * high, color=SERIES[0], linewidth=2)
            fill = SERIES[0] if certain else SURFACE
            axes.plot(100 * change, row, "o", markersize=6, color=SERIES[0], markerfacecolor=fill)
        name_rows(axes, list(changes))
        axes.set_xlabel("points (filled: not chance)")
        axes.set_title("Change of accuracy")
    return axes


def plot_measured(
    points: Mapping[str, tuple[float, float]], *, named: Collection[str] = (), axes: Axes | None = None
) -> Axes:
    """Draw the latency of networks over their MACs: name -> (MACs, milliseconds). The `named` ones are filled."""
    from matplotlib.ticker import EngFormatter

    with chart_style():
        axes = new_axes(axes)
        for name, (macs, milliseconds) in points.items():
            fill = SERIES[0] if name in named else SURFACE
            axes.plot(macs, milliseconds, "o", color=SERIES[0], markerfacecolor=fill, markersize=6)
            if name in named:
                axes.annotate(name, (macs, milliseconds), xytext=(6, -12), textcoords="offset points", fontsize=9)
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
        axes.margins(x=0.2)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("MACs per forward pass")
        axes.set_ylabel("milliseconds")
        axes.set_title("Networks measured for the latency")
    return axes


def plot_tickets(
    curves: Mapping[str, Sequence[Point]], dense: tuple[float, tuple[float, float] | None], *, axes: Axes | None = None
) -> Axes:
    """Draw the accuracy of lottery tickets and control networks over the weights that remain, with intervals.

    Each of the `curves` has points (fraction of weights, accuracy, interval or None); `dense` is the accuracy of the
    dense network, with its interval.
    """
    from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    with chart_style():
        axes = new_axes(axes, height=3.4)
        level, interval = dense
        axes.axhline(100 * level, color=INK, linestyle="--", linewidth=1.2, label="dense network")
        if interval is not None:
            axes.axhspan(100 * interval[0], 100 * interval[1], color=INK, alpha=0.08, linewidth=0)
        for index, (name, points) in enumerate(curves.items()):
            color = SERIES[index % len(SERIES)]
            for weights, _, spread in points:
                if spread is not None:
                    axes.vlines(100 * weights, 100 * spread[0], 100 * spread[1], color=color, linewidth=1.2)
            axes.plot(
                [100 * weights for weights, *_ in points],
                [100 * accuracy for _, accuracy, _ in points],
                color=color,
                linestyle=DASHES[index % len(DASHES)],
                marker=MARKERS[index % len(MARKERS)],
                markersize=5,
                label=name,
            )
        ticks = sorted({100 * weights for points in curves.values() for weights, *_ in points})
        axes.set_xscale("log")
        axes.set_xticks(ticks)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
        axes.invert_xaxis()
        axes.set_xlabel("weights that remain (%)")
        axes.set_ylabel("accuracy (%)")
        axes.set_title("Accuracy of tickets and control networks")
        axes.legend()
    return axes
