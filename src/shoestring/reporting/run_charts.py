"""The charts of a run's report, in the order of their importance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from shoestring.config.units import format_percent, format_seconds
from shoestring.reporting.markdown import step_name
from shoestring.reporting.multi_label import is_multi_label
from shoestring.reporting.run_data import RunData

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_ROWS = 40  # layers of a chart
_MAX_CLASSES = 30
SIZES = {  # charts of the accuracy before and after pruning, over these costs
    "over-macs": ("macs", "MACs per forward pass"),
    "over-params": ("params", "parameters"),
    "over-file": ("file_bytes", "size of the file (bytes)"),
    "over-latency": ("latency_ms", "latency (milliseconds)"),
}


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
    for part in (_budget, _curves, _classes, _reliability, _changes, _layers, _latencies, _clusters, _sizes, _search):
        if not has_time():
            return charts, False
        charts |= dict(part(run))
    return charts, True


def _curves(run: RunData) -> Iterator[tuple[str, Chart]]:
    from shoestring.reporting.charts import plot_curves

    seconds, losses = run.loss
    marks = run.marks
    last = "so far" if run.unfinished else "at the end"
    marked = "".join(f" At {second:.0f} s: {text}." for second, text in marks)
    if len(losses) > 1:
        caption = f"Loss of the training images: {losses[0]:.2f} at first, {losses[-1]:.2f} {last}.{marked}"
        curves = {"training": run.loss}
        title = "Training loss"
        yield "loss", draw("loss", caption, plot_curves, curves, quantity="loss", title=title, marks=marks)
    seconds, values = run.validation
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


def _layers(run: RunData) -> Iterator[tuple[str, Chart]]:
    changed = {name: pair for name, pair in run.layers.items() if pair[0] != pair[1]}
    if not changed:
        return
    caption = f"{len(changed)} of {len(run.layers)} layers have fewer output channels than before."
    yield "layers", _layer_chart("layers", caption, changed)


def _latencies(run: RunData) -> Iterator[tuple[str, Chart]]:
    latencies = {name: (before["latency_ms"], after["latency_ms"]) for name, (before, after) in run.layer_costs.items()}
    if not latencies:
        return
    before, after = (sum(pair[side] for pair in latencies.values()) for side in (0, 1))
    caption = (
        f"Measured for a single image: all layers together took {before:.2f} ms before, and take {after:.2f} ms now. "
        "What is between the layers, such as activations, is not included."
    )
    options = {"quantity": "milliseconds", "title": "Latency per layer", "digits": 2}
    yield "latencies", _layer_chart("latencies", caption, latencies, **options)


def _clusters(run: RunData) -> Iterator[tuple[str, Chart]]:
    clustered = {name: pair for name, pair in run.clusters.items() if pair[0] != pair[1]}
    if not clustered:
        return
    caption = f"Similar filters of {len(clustered)} layers are clustered: outlines are filters, bars are clusters."
    options = {"quantity": "filters", "title": "Clusters of filters"}
    yield "clusters", _layer_chart("clusters", caption, clustered, **options)


def _sizes(run: RunData) -> Iterator[tuple[str, Chart]]:
    from shoestring.reporting.charts import plot_pareto

    known = [point for point in run.points if point["accuracy"] is not None]
    for name, (cost, quantity) in SIZES.items():
        points = {
            point["network"]: (point[cost], point["accuracy"], (point["low"], point["high"]))
            for point in known
            if point[cost] is not None
        }
        if len({value for value, *_ in points.values()}) > 1:
            caption = f"Accuracy on validation images over {quantity.partition(' (')[0]}. Lines are 95 % intervals."
            yield name, draw(name, caption, plot_pareto, points, cost=quantity)


def _search(run: RunData) -> Iterator[tuple[str, Chart]]:
    from shoestring.reporting.pruning_charts import plot_measured

    points = {
        point["network"]: (point["macs"], point["onnx_one_thread_ms"])
        for point in run.points
        if point["onnx_one_thread_ms"] is not None
    }
    if len(points) > 1:
        caption = (
            f"The search for the latency measured {len(points)} networks in ONNX Runtime, on one thread, for a single "
            "image. Those without a name were not trained."
        )
        yield "search", draw("search", caption, plot_measured, points, named=("before", "after"))


def _layer_chart(name: str, caption: str, layers: Mapping[str, tuple[float, float]], **options: Any) -> Chart:
    """Draw the layers that lost most, in the order of the network."""
    from shoestring.reporting.pruning_charts import plot_layers
    from shoestring.reporting.style import row_chart_height

    lost = sorted(layers, key=lambda layer: layers[layer][1] - layers[layer][0])[:_MAX_ROWS]
    shown = {layer: pair for layer, pair in layers.items() if layer in lost}
    caption += f" The {len(shown)} that lost most are shown." if len(shown) < len(layers) else ""
    return draw(name, caption, plot_layers, shown, height=row_chart_height(len(shown)), **options)


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


def draw(name: str, caption: str, plot: Callable[..., Axes], *args: Any, height: float = 3.0, **kwargs: Any) -> Chart:
    """Return a chart of a function of `reporting.charts`; `name` is unique on the page, `height` in inches."""
    from shoestring.reporting.style import page_axes, to_svg

    axes = plot(*args, **kwargs, axes=page_axes(height))
    return Chart(Markup(to_svg(axes, name=f"chart-{name}", description=caption)), caption)
