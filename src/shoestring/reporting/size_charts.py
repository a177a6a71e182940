"""Charts of what pruning did to a network: its layers, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shoestring.reporting.drawing import Chart, draw
from shoestring.reporting.markdown import a_single_image
from shoestring.reporting.run_data import RunData

_MAX_ROWS = 40  # layers of a chart
SIZES = {  # charts of the accuracy before and after pruning, over these costs
    "over-macs": ("macs", "MACs per forward pass"),
    "over-params": ("params", "parameters"),
    "over-file": ("file_bytes", "size of the file (bytes)"),
    "over-latency": ("latency_ms", "latency (milliseconds)"),
}


def layers(run: RunData) -> Iterator[tuple[str, Chart]]:
    """The output channels of each layer before and after pruning."""
    changed = {name: pair for name, pair in run.layers.items() if pair[0] != pair[1]}
    if not changed:
        return
    caption = f"{len(changed)} of {len(run.layers)} layers have fewer output channels than before."
    yield "layers", _layer_chart("layers", caption, changed)


def latencies(run: RunData) -> Iterator[tuple[str, Chart]]:
    """The latency of each layer before and after pruning."""
    measured = {name: (before["latency_ms"], after["latency_ms"]) for name, (before, after) in run.layer_costs.items()}
    if not measured:
        return
    before, after = (sum(pair[side] for pair in measured.values()) for side in (0, 1))
    caption = (
        f"Measured for {a_single_image(run.result)}: all layers together took {before:.2f} ms before, and take "
        f"{after:.2f} ms now. What is between the layers, such as activations, is not included."
    )
    options = {"quantity": "milliseconds", "title": "Latency per layer", "digits": 2}
    yield "latencies", _layer_chart("latencies", caption, measured, **options)


def clusters(run: RunData) -> Iterator[tuple[str, Chart]]:
    """The filters and clusters of each layer."""
    clustered = {name: pair for name, pair in run.clusters.items() if pair[0] != pair[1]}
    if not clustered:
        return
    caption = f"Similar filters of {len(clustered)} layers are clustered: outlines are filters, bars are clusters."
    options = {"quantity": "filters", "title": "Clusters of filters"}
    yield "clusters", _layer_chart("clusters", caption, clustered, **options)


def sizes(run: RunData) -> Iterator[tuple[str, Chart]]:
    """The accuracy before and after pruning over each cost."""
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


def search(run: RunData) -> Iterator[tuple[str, Chart]]:
    """The networks that the search for a latency measured."""
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
