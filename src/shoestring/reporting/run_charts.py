"""The charts of a run's report, in the order of their importance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shoestring.config.units import format_percent, format_seconds
from shoestring.reporting import size_charts
from shoestring.reporting.drawing import Chart, draw
from shoestring.reporting.markdown import step_name
from shoestring.reporting.multi_label import is_multi_label
from shoestring.reporting.run_data import RunData

if TYPE_CHECKING:
    pass

_MAX_CLASSES = 30
_RISEN = 1.1  # ratio of a validation loss to the lowest one before from which on it is said to rise


@dataclass(frozen=True)
class Charts:
    """The charts of a page by name, and whether they are all that the values of the run allow."""

    by_name: Mapping[str, Chart]
    complete: bool = True


def run_charts(run: RunData, has_time: Callable[[], bool] = lambda: True) -> Charts:
    """Return the charts of the run, without that of its time, which ends with the report.

    No further charts are drawn once `has_time` returns False.
    """
    charts: dict[str, Chart] = {}
    of_sizes = (size_charts.layers, size_charts.latencies, size_charts.clusters, size_charts.sizes, size_charts.search)
    for part in (_losses, _validation, _classes, _reliability, _changes, *of_sizes):
        if not has_time():
            return Charts(charts, complete=False)
        charts |= dict(part(run))
    return Charts(charts)


def with_time_chart(charts: Charts, run: RunData) -> Charts:
    """Add the chart of where the time went, unless there is no time for any."""
    if not charts.complete and not charts.by_name:
        return charts
    return Charts({**charts.by_name, **dict(_budget(run))}, charts.complete)


def _losses(run: RunData) -> Iterator[tuple[str, Chart]]:
    from shoestring.reporting.charts import plot_curves

    _, losses = run.loss
    marks, last, marked = _marked(run)
    if len(losses) > 1:
        caption = f"Loss of the training images: {losses[0]:.2f} at first, {losses[-1]:.2f} {last}."
        curves = run.losses
        title = "Training loss" if len(curves) == 1 else "Loss"
        caption += (_overfitting(curves["validation"][1]) if len(curves) > 1 else "") + marked
        yield "loss", draw("loss", caption, plot_curves, curves, quantity="loss", title=title, marks=marks)


def _validation(run: RunData) -> Iterator[tuple[str, Chart]]:
    from shoestring.reporting.charts import plot_curves

    seconds, values = run.validation
    marks, last, marked = _marked(run)
    if len(values) > 1:
        caption = (
            f"Accuracy on validation images, which are not trained on: {format_percent(values[0])} after "
            f"{format_seconds(seconds[0])}, {format_percent(values[-1])} {last}. In between, it may be measured on "
            f"a sample of them.{marked}"
        )
        curves, options = {"validation": run.validation}, {"percent": True, "marks": marks}
        title = "Validation accuracy"
        yield (
            "validation",
            draw("validation", caption, plot_curves, curves, quantity="accuracy", title=title, **options),
        )


def _marked(run: RunData) -> tuple[list[tuple[float, str]], str, str]:
    """Return the marks of a curve, what its last value is called, and the marks as sentences."""
    marks = run.marks
    last = "so far" if run.unfinished else "at the end"
    return marks, last, "".join(f" At {second:.0f} s: {text}." for second, text in marks)


def _overfitting(losses: Sequence[float]) -> str:
    """Say how the loss of validation images went."""
    best, end = min(losses), losses[-1]
    rose = "" if end <= _RISEN * best else f"; it had been lower, {best:.2f}: the network begins to overfit"
    return (
        f" Of validation images, which are neither trained on nor augmented: {losses[0]:.2f} at first, {end:.2f} at "
        f"the last measurement{rose}."
    )


def _classes(run: RunData) -> Iterator[tuple[str, Chart]]:
    from shoestring.reporting.charts import plot_class_accuracy
    from shoestring.reporting.style import row_chart_height

    per_class = run.result["per_class"]
    recalls = {name: entry["recall"] for name, entry in per_class.items() if entry["recall"] is not None}
    shown = sorted(recalls, key=recalls.__getitem__)[:_MAX_CLASSES]
    if not shown:
        return
    shown_recalls = {name: recalls[name] for name in shown}
    weakest, best = shown[0], max(recalls, key=recalls.__getitem__)
    labels = is_multi_label(run.result)
    what = "labels" if labels else "classes"
    more = f" The {len(shown)} weakest of {len(recalls)} {what}." if len(shown) < len(recalls) else ""
    caption = (
        f"From {weakest}, {format_percent(recalls[weakest])}, to {best}, {format_percent(recalls[best])}. Lines are "
        f"95 % intervals: where they overlap, the order of {what} may be chance.{more}"
    )
    height = row_chart_height(len(shown))
    options = {"labels": labels, "height": height}
    yield "classes", draw("classes", caption, plot_class_accuracy, shown_recalls, run.intervals, **options)


def _reliability(run: RunData) -> Iterator[tuple[str, Chart]]:
    from shoestring.reporting.charts import plot_reliability

    if not run.reliability:
        return
    error, last = run.result["calibration_error"], run.reliability[-1]
    caption = (
        f"Of the {last['images']:,} predictions with the highest confidence, {format_percent(last['confidence'])} on "
        f"average, {format_percent(last['accuracy'])} are right. Mean distance from the diagonal: {100 * error:.1f} "
        "points. Points below the diagonal are overconfident; lines are 95 % intervals."
    )
    yield "reliability", draw("reliability", caption, plot_reliability, run.reliability, height=3.6)


def _changes(run: RunData) -> Iterator[tuple[str, Chart]]:
    if run.comparison is None:
        return
    from shoestring.reporting.pruning_charts import plot_changes
    from shoestring.reporting.style import row_chart_height

    entries = sorted(run.comparison["per_class"], key=lambda entry: entry["change"])
    shown = entries[:_MAX_CLASSES]
    changes = {entry["name"]: (entry["change"], tuple(entry["interval"])) for entry in shown}
    worst, best = entries[0], entries[-1]
    more = f" The {len(shown)} classes that lost most are shown." if len(shown) < len(entries) else ""
    caption = (
        f"On {run.comparison['images']:,} validation images: from {worst['name']}, {100 * worst['change']:+.1f} "
        f"points, to {best['name']}, {100 * best['change']:+.1f} points. Lines are 95 % intervals.{more}"
    )
    yield "changes", draw("changes", caption, plot_changes, changes, height=row_chart_height(len(shown)))


def _budget(run: RunData) -> Iterator[tuple[str, Chart]]:
    from shoestring.reporting.charts import plot_budget
    from shoestring.reporting.style import row_chart_height

    budget, ledger = run.result["budget"], run.result["ledger"]
    seconds = {step_name(name): value for name, value in ledger.items()}
    if not seconds:
        return
    rest = run.result["seconds"] - sum(seconds.values())
    if rest > 0.05:
        seconds["the step that was running" if run.unfinished else "other"] = rest
    longest = max(seconds, key=seconds.__getitem__)
    caption = f"Most of the time, {format_seconds(seconds[longest])}, went to: {longest}."
    total = budget["total"] if budget["unit"] == "seconds" else None
    yield "budget", draw("budget", caption, plot_budget, seconds, total, height=row_chart_height(len(seconds)))
