"""Charts of experiments as matplotlib axes: for the report, and for notebooks, as those of `reporting.charts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shoestring.reporting.style import SERIES, chart_style, name_rows, new_axes, row_chart_height

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_ROWS = 30  # values of a setting


def plot_combinations(
    rows: Mapping[str, tuple[float, tuple[float, float], Sequence[float]]],
    *,
    split: str,
    title: str = "Accuracy by settings",
    axes: Axes | None = None,
) -> Axes:
    """Draw the mean accuracy of each combination of settings with its interval: name -> (mean, interval, runs).

    Each run is a hollow point. Accuracies are from 0 to 1.
    """
    with chart_style():
        axes = new_axes(axes, height=row_chart_height(len(rows)))
        for row, (mean, (low, high), runs) in enumerate(rows.values()):
            axes.hlines(row, 100 * low, 100 * high, color=SERIES[0], linewidth=2)
            if len(runs) > 1:
                axes.plot([100 * value for value in runs], [row] * len(runs), "o", color=SERIES[1], mfc="none", ms=5)
            axes.plot(100 * mean, row, "o", color=SERIES[0], markersize=6)
        name_rows(axes, list(rows))
        axes.set_xlabel(f"{split} accuracy (%)")
        axes.set_title(title)
    return axes


def plot_effect(effect: Mapping[str, Any], *, split: str, axes: Axes | None = None) -> Axes:
    """Draw the mean accuracy for each value of one setting: an entry of the `effects` of an experiment.

    Values of a range are on the horizontal axis, others are rows, at most 30.
    """
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    values = effect["values"] if effect["range"] else effect["values"][:_MAX_ROWS]
    with chart_style():
        axes = new_axes(axes, height=2.6 if effect["range"] else row_chart_height(len(values)))
        accuracies = [100 * entry["accuracy"] for entry in values]
        if effect["range"]:
            axes.plot([entry["value"] for entry in values], accuracies, "o", color=SERIES[0], markersize=6)
            if effect["log"]:
                axes.set_xscale("log")
                axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
                axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel(effect["setting"])
            axes.set_ylabel(f"{split} accuracy (%)")
        else:
            axes.plot(accuracies, range(len(values)), "o", color=SERIES[0], markersize=7)
            name_rows(axes, [str(entry["value"]) for entry in values])
            axes.set_xlabel(f"{split} accuracy (%)")
        axes.set_title(f"Accuracy by {effect['setting']}")
    return axes


def plot_importance(explained: Mapping[str, float], *, axes: Axes | None = None) -> Axes:
    """Draw the fraction of the variance between combinations that each setting alone explains, from 0 to 1."""
    with chart_style():
        axes = new_axes(axes, height=row_chart_height(len(explained)))
        axes.barh(range(len(explained)), [100 * value for value in explained.values()], height=0.7, color=SERIES[0])
        name_rows(axes, list(explained))
        axes.set_xlim(0, 100)
        axes.set_xlabel("variance explained (%)")
        axes.set_title("What mattered")
    return axes
