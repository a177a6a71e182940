from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("matplotlib")

from shoestring.reporting import charts, pruning_charts
from shoestring.reporting.style import page_axes, short_names, to_svg

DRAWINGS = {
    "budget": lambda axes: charts.plot_budget({"load": 1.0, "train": 3.0}, 5.0, axes=axes),
    "curves": lambda axes: charts.plot_curves(
        {"a": ([1, 2], [0.5, 0.6]), "b": ([1, 3], [0.4, 0.7])},
        quantity="accuracy",
        title="Accuracy",
        percent=True,
        marks=[(1.5, "pruned")],
        axes=axes,
    ),
    "classes": lambda axes: charts.plot_class_accuracy({"a": 0.5, "b": None}, {"a": (0.4, 0.6), "b": None}, axes=axes),
    "reliability": lambda axes: charts.plot_reliability(
        [{"confidence": 0.5, "accuracy": 0.4, "interval": (0.3, 0.5), "images": 9}], axes=axes
    ),
    "confusion": lambda axes: charts.plot_confusion([[3, 1], [0, 2]], ["a", "b"], axes=axes),
    "layers": lambda axes: pruning_charts.plot_layers({"conv": (64, 16)}, axes=axes),
    "changes": lambda axes: pruning_charts.plot_changes(
        {"a": (-0.1, (-0.2, -0.01)), "b": (0.0, (-0.05, 0.05))}, axes=axes
    ),
    "measured": lambda axes: pruning_charts.plot_measured(
        {"before": (1e6, 2.0), "measured 1": (5e5, 1.5)}, named=("before", "after"), axes=axes
    ),
    "tickets": lambda axes: pruning_charts.plot_tickets(
        {"ticket": [(0.8, 0.9, (0.85, 0.95)), (0.64, 0.91, None)], "random": [(0.8, 0.7, None)]},
        (0.9, (0.88, 0.92)),
        axes=axes,
    ),
    "pareto": lambda axes: charts.plot_pareto(
        {"a": (10.0, 0.8, (0.7, 0.9)), "b": (1000.0, 0.9, (0.85, 0.95))}, cost="time (seconds)", axes=axes
    ),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_charts_have_a_title_and_named_axes(name):
    axes = page_axes()
    assert DRAWINGS[name](axes) is axes
    assert axes.get_title(loc="left") and axes.get_xlabel()
    assert axes.get_ylabel() or len(axes.get_yticklabels()) > 0
    assert "<svg" in to_svg(axes, name="chart", description="a chart")


def test_bars_of_the_budget_follow_each_other():
    axes = charts.plot_budget({"load": 1.0, "train": 3.0}, 5.0, axes=page_axes())
    assert [(bar.get_x(), bar.get_width()) for bar in axes.patches] == [(0.0, 1.0), (1.0, 3.0)]


def test_curves_in_percent_and_marks():
    axes = DRAWINGS["curves"](page_axes())
    assert axes.lines[0].get_ydata().tolist() == [50.0, 60.0]
    assert [text.get_text().strip() for text in axes.texts] == ["pruned"]
    assert axes.get_ylabel() == "accuracy (%)" and axes.get_legend() is not None
    assert {line.get_linestyle() for line in axes.lines[:2]} == {"-", "--"}


def test_cells_of_the_confusion_matrix_hold_their_numbers():
    axes = DRAWINGS["confusion"](page_axes())
    assert [text.get_text() for text in axes.texts] == ["3", "1", "2"]
    assert axes.images[0].get_array()[0].tolist() == [0.75, 0.25]


def test_long_names_that_begin_alike_are_cut_in_the_middle():
    names = [f"timm:tf_efficientnet_lite{number}" for number in range(3)]
    assert short_names(names) == [f"timm:tf_eff…entnet_lite{number}" for number in range(3)]
    assert short_names([*names[:1], "cat"]) == ["timm:tf_efficientnet_li…", "cat"]


def test_names_are_shown_literally_and_shortened():
    name = "$x$ \u202e" + "long " * 20
    axes = charts.plot_class_accuracy({name: 0.5}, {name: None}, axes=page_axes())
    [label] = [one.get_text() for one in axes.get_yticklabels()]
    assert label.startswith("$x$ \\u202e") and len(label) == 24
    assert "$x$ " in to_svg(axes, name="a", description="d")


def test_svg_follows_the_theme_and_does_not_style_the_page():
    axes = pruning_charts.plot_layers({"<b>": (4, 2)}, axes=page_axes())
    svg = to_svg(axes, name="one", description='"quoted" & more')
    assert "<style" not in svg and "<metadata" not in svg and ' id="one-' in svg
    assert 'aria-label="&quot;quoted&quot; &amp; more"' in svg
    assert "&lt;b" in svg and "<b>" not in svg
    assert "var(--series-1)" in svg and "#0072b2" not in svg and "DejaVu" not in svg
    assert to_svg(axes, name="one", description="") == to_svg(axes, name="one", description="")


def test_changes_that_may_be_chance_have_an_open_point():
    axes = DRAWINGS["changes"](page_axes())
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in points] == [-10.0, 0.0]
    assert points[0].get_markerfacecolor() == points[0].get_color() != points[1].get_markerfacecolor()


def test_curves_of_tickets_go_from_many_weights_to_few():
    axes = DRAWINGS["tickets"](page_axes())
    left, right = axes.get_xlim()
    assert left > right and [label.get_text() for label in axes.get_legend().get_texts()] == [
        "dense network",
        "ticket",
        "random",
    ]
    curve = next(line for line in axes.lines if line.get_label() == "ticket")
    assert curve.get_xdata() == pytest.approx([80.0, 64.0]) and curve.get_ydata() == pytest.approx([90.0, 91.0])


@given(st.dictionaries(st.text(), st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=8))
def test_pareto_front_has_the_points_that_no_other_beats(points):
    values = {name: (float(cost), float(accuracy)) for name, (cost, accuracy) in points.items()}
    front = charts.pareto_front(values)
    assert front
    for name, (cost, accuracy) in values.items():
        beaten = any(np.all([c <= cost, a >= accuracy]) and (c < cost or a > accuracy) for c, a in values.values())
        assert (name in front) != beaten
