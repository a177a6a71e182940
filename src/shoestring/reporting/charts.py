"""Charts of plain values as matplotlib axes: for the report, and for notebooks.

Each function draws into `axes`, or into a new figure, and returns the axes. Titles, units and labels are always there;
series differ by marker or dash as well as by color.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shoestring.reporting.style import (
    DASHES,
    GRID,
    INK,
    MARKERS,
    MUTED,
    SERIES,
    SURFACE,
    chart_style,
    name_rows,
    new_axes,
    row_chart_height,
    short_name,
    short_names,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Interval = tuple[float, float]


def plot_budget(seconds: Mapping[str, float], total: float | None = None, *, axes: Axes | None = None) -> Axes:
    """Draw where the time went: a bar of seconds for each step, each starting where the one before ended.

    `total` is the deadline in seconds; None for budgets that are not a time.
    """
    with chart_style():
        axes = new_axes(axes, height=row_chart_height(len(seconds)))
        start, end = 0.0, max(sum(seconds.values()), total or 0.0)
        for row, duration in enumerate(seconds.values()):
            axes.barh(row, duration, left=start, height=0.7, color=SERIES[0])
            right = start + duration
            before = right > 0.8 * end
            axes.annotate(
                f"{duration:.1f} s",
                (start if before else right, row),
                xytext=(-3 if before else 3, 0),
                textcoords="offset points",
                ha="right" if before else "left",
                va="center",
            )
            start = right
        if total is not None:
            axes.axvline(total, color=INK, linestyle="--", linewidth=1.2)
        name_rows(axes, list(seconds))
        axes.set_xlim(0, 1.02 * end)
        axes.set_xlabel("seconds" + ("" if total is None else " (dashed: the deadline)"))
        axes.set_title("Where the time went")
    return axes


def plot_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    quantity: str,
    title: str,
    percent: bool = False,
    marks: Sequence[tuple[float, str]] = (),
    axes: Axes | None = None,
) -> Axes:
    """Draw curves over seconds: name -> (seconds, values).

    With `percent`, values are fractions, drawn in percent with a marker each. `marks` are vertical lines with a text,
    such as the beginning of a growth stage.
    """
    with chart_style():
        axes = new_axes(axes)
        for index, (name, (seconds, values)) in enumerate(curves.items()):
            scaled = [100 * value for value in values] if percent else list(values)
            axes.plot(
                seconds,
                scaled,
                color=SERIES[index % len(SERIES)],
                linestyle=DASHES[index % len(DASHES)],
                marker=MARKERS[index % len(MARKERS)] if percent or len(scaled) < 3 else None,
                markersize=4,
                label=short_name(name),
            )
        for second, text in marks:
            axes.axvline(second, color=MUTED, linestyle=":", linewidth=1.2)
            axes.annotate(
                f"{short_name(text)} ",
                (second, 1.0),
                xycoords=("data", "axes fraction"),
                rotation=90,
                ha="right",
                va="top",
                fontsize=9,
                color=MUTED,
            )
        if len(curves) > 1:
            axes.legend()
        axes.set_xlabel("seconds since the start")
        axes.set_ylabel(f"{quantity} (%)" if percent else quantity)
        axes.set_title(title)
    return axes


def plot_class_accuracy(
    accuracies: Mapping[str, float | None],
    intervals: Mapping[str, Interval | None],
    *,
    labels: bool = False,
    axes: Axes | None = None,
) -> Axes:
    """Draw the accuracy of each class, from 0 to 1, as a point with its interval; None for classes without images.

    With `labels`, they are not classes but labels, of which an image has any number.
    """
    with chart_style():
        axes = new_axes(axes, height=row_chart_height(len(accuracies)))
        for row, (name, accuracy) in enumerate(accuracies.items()):
            if accuracy is None:
                continue
            low, high = intervals[name] or (accuracy, accuracy)
            axes.hlines(row, 100 * low, 100 * high, color=SERIES[0], linewidth=2)
            axes.plot(100 * accuracy, row, marker="o", markersize=6, color=SERIES[0])
        name_rows(axes, list(accuracies))
        lows = [interval[0] for name in accuracies if (interval := intervals[name])]
        axes.set_xlim(10 * int(10 * min(lows, default=0.0)) - 2, 102)
        axes.set_xlabel("labeled images that get it (%)" if labels else "images predicted as their class (%)")
        axes.set_title("Recall per label" if labels else "Accuracy per class")
    return axes


def plot_reliability(bins: Sequence[Mapping[str, Any]], *, axes: Axes | None = None) -> Axes:
    """Draw the accuracy over the confidence of predictions; on the diagonal, probabilities are right.

    Each of the `bins` of confidence has `confidence` and `accuracy` from 0 to 1, the `interval` of the accuracy, and
    its number of `images`.
    """
    with chart_style():
        axes = new_axes(axes, height=3.6)
        axes.plot([0, 100], [0, 100], color=MUTED, linestyle="--", linewidth=1.2, label="perfectly calibrated")
        for index, one in enumerate(bins):
            low, high = one["interval"]
            place = 100 * one["confidence"]
            axes.vlines(place, 100 * low, 100 * high, color=SERIES[0], linewidth=1.6)
            label = "this model" if index == 0 else None
            axes.plot(place, 100 * one["accuracy"], "o", color=SERIES[0], markersize=6, label=label)
        axes.set_xlim(-2, 102)
        axes.set_ylim(-2, 102)
        axes.set_xlabel("confidence of the prediction (%)")
        axes.set_ylabel("accuracy (%)")
        axes.set_title("Can its probabilities be trusted?")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)  # below, where no interval can be
    return axes


def plot_confusion(counts: Sequence[Sequence[int]], names: Sequence[str], *, axes: Axes | None = None) -> Axes:
    """Draw a confusion matrix (C, C): row i, column j is the number of images of class i predicted as class j.

    The color is the fraction of the row, and cells hold their numbers where there are at most 20 classes.
    """
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap

    matrix = np.asarray(counts)
    with chart_style():
        axes = new_axes(axes, height=4.6)
        fractions = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        axes.imshow(fractions, cmap=LinearSegmentedColormap.from_list("", [SURFACE, SERIES[0]]), vmin=0, vmax=1)
        if len(names) <= 20:
            for (row, column), count in np.ndenumerate(matrix):
                color = "white" if fractions[row, column] > 0.5 else INK
                if count:
                    axes.text(column, row, str(count), ha="center", va="center", fontsize=9, color=color)
        ticks = np.arange(len(names))
        axes.set_xticks(ticks, [short_name(name) for name in names], rotation=90)
        axes.set_yticks(ticks, [short_name(name) for name in names])
        axes.grid(False)
        axes.set_xlabel("predicted class (images)")
        axes.set_ylabel("class")
        axes.set_title("Confusion matrix")
    return axes


def plot_pareto(points: Mapping[str, tuple[float, float, Interval]], *, cost: str, axes: Axes | None = None) -> Axes:
    """Draw accuracies, with intervals, over what they cost: name -> (cost, accuracy, interval).

    Points that no other beats in both are on a line, the Pareto front.
    """
    from matplotlib.ticker import EngFormatter, MaxNLocator, NullFormatter

    with chart_style():
        axes = new_axes(axes)
        names = short_names(list(points))
        for index, (name, (value, accuracy, (low, high))) in enumerate(zip(names, points.values())):
            color = SERIES[index % len(SERIES)]
            axes.vlines(value, 100 * low, 100 * high, color=color, linewidth=1.4)
            axes.plot(value, 100 * accuracy, MARKERS[index % len(MARKERS)], color=color, markersize=7)
            axes.annotate(name, (value, 100 * accuracy), xytext=(6, 5), textcoords="offset points", fontsize=9)
        front = pareto_front({name: (value, accuracy) for name, (value, accuracy, _) in points.items()})
        line = sorted((points[name][0], 100 * points[name][1]) for name in front)
        axes.plot([x for x, _ in line], [y for _, y in line], color=GRID, linewidth=3, zorder=0)
        costs = [value for value, *_ in points.values()]
        if min(costs) > 0 and max(costs) > 20 * min(costs):
            axes.set_xscale("log")
        else:
            axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.2)
        axes.set_xlabel(cost)
        axes.set_ylabel("accuracy (%)")
        axes.set_title(f"Accuracy over {cost.partition(' (')[0]}")
    return axes


def pareto_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the names of the points (cost, accuracy) that no other point beats in one and equals in the other."""

    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return one[0] <= other[0] and one[1] >= other[1] and one != other

    return [name for name, point in points.items() if not any(beats(other, point) for other in points.values())]
