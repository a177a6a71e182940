"""The charts of a run's report, in the order of their importance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from shoestring.config.units import format_percent, format_seconds
from shoestring.reporting.markdown import step_name
from shoestring.reporting.run_data import RunData

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_ROWS = 40  # classes or layers of a chart
_MAX_CLASSES = 30


@dataclass(frozen=True)
class Chart:
    """An SVG element, and the text below it, which is also its alternative text."""

    svg: Markup
    caption: str


def run_charts(run: RunData, has_time: Callable[[], bool] = lambda: True) -> tuple[dict[str, Chart], bool]:
    """Return the charts that the values of the run allow, by name, and whether these are all of them.

    No further charts are drawn once `has_time` returns False.
    """
    charts: dict[str, Chart] = {}
    for part in (_curves, _classes, _reliability, _layers, _budget):
        if not has_time():
            return charts, False
        charts |= dict(part(run))
    return charts, True


def _curves(run: RunData) -> Iterator[tuple[str, Chart]]:
    from shoestring.reporting.charts import plot_curves

    seconds, losses = run.loss
    marks = run.marks
    marked = "".join(f" At {second:.0f} s: {text}." for second, text in marks)
    if len(losses) > 1:
        caption = f"Loss of the training images: {losses[0]:.2f} at first, {losses[-1]:.2f} at the end.{marked}"
        curves = {"training": run.loss}
        title = "Training loss"
        yield "loss", draw("loss", caption, plot_curves, curves, quantity="loss", title=title, marks=marks)
    seconds, values = run.validation
    if len(values) > 1:
        caption = (
            f"Accuracy on validation images, which are not trained on: {format_percent(values[0])} after "
            f"{format_seconds(seconds[0])}, {format_percent(values[-1])} at the end. In between, it may be measured on "
            f"a sample of them.{marked}"
        )
        curves, options = {"validation": run.validation}, {"percent": True, "marks": marks}
        title = "Validation accuracy"
        yield (
            "validation",
            draw("validation", caption, plot_curves, curves, quantity="accuracy", title=title, **options),
        )


def _classes(run: RunData) -> Iterator[tuple[str, Chart]]:
    from shoestring.reporting.charts import plot_class_accuracy, row_chart_height

    per_class = run.result["per_class"]
    recalls = {name: entry["recall"] for name, entry in per_class.items() if entry["recall"] is not None}
    shown = sorted(recalls, key=recalls.__getitem__)[:_MAX_CLASSES]
    if not shown:
        return
    shown_recalls = {name: recalls[name] for name in shown}
    weakest, best = shown[0], max(recalls, key=recalls.__getitem__)
    more = f" The {len(shown)} weakest of {len(recalls)} classes." if len(shown) < len(recalls) else ""
    caption = (
        f"From {weakest}, {format_percent(recalls[weakest])}, to {best}, {format_percent(recalls[best])}. Lines are "
        f"95 % intervals: where they overlap, the order of classes may be chance.{more}"
    )
    height = row_chart_height(len(shown))
    yield "classes", draw("classes", caption, plot_class_accuracy, shown_recalls, run.intervals, height=height)


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


def _layers(run: RunData) -> Iterator[tuple[str, Chart]]:
    from shoestring.reporting.charts import plot_layers, row_chart_height

    changed = {name: pair for name, pair in run.layers.items() if pair[0] != pair[1]}
    shown = dict(sorted(changed.items(), key=lambda item: item[1][1] - item[1][0])[:_MAX_ROWS])
    if not shown:
        return
    ordered = {name: pair for name, pair in run.layers.items() if name in shown}
    caption = f"{len(changed)} of {len(run.layers)} layers have fewer output channels than before."
    caption += f" The {len(shown)} that lost most are shown." if len(shown) < len(changed) else ""
    yield "layers", draw("layers", caption, plot_layers, ordered, height=row_chart_height(len(ordered)))


def _budget(run: RunData) -> Iterator[tuple[str, Chart]]:
    from shoestring.reporting.charts import plot_budget, row_chart_height

    budget, ledger = run.result["budget"], run.result["ledger"]
    seconds = {step_name(name): value for name, value in ledger.items()}
    if not seconds:
        return
    rest = run.result["seconds"] - sum(seconds.values())
    if rest > 0.05:
        seconds["other"] = rest
    longest = max(seconds, key=seconds.__getitem__)
    caption = f"Most of the time, {format_seconds(seconds[longest])}, went to: {longest}."
    total = budget["total"] if budget["unit"] == "seconds" else None
    yield "budget", draw("budget", caption, plot_budget, seconds, total, height=row_chart_height(len(seconds)))


def draw(name: str, caption: str, plot: Callable[..., Axes], *args: Any, height: float = 3.0, **kwargs: Any) -> Chart:
    """Return a chart of a function of `reporting.charts`; `name` is unique on the page, `height` in inches."""
    from shoestring.reporting.style import page_axes, to_svg

    axes = plot(*args, **kwargs, axes=page_axes(height))
    return Chart(Markup(to_svg(axes, name=f"chart-{name}", description=caption)), caption)
