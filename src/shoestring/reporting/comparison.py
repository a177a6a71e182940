"""Several runs side by side: plain values, and the page that shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from shoestring.config.units import format_interval, format_percent, format_seconds
from shoestring.errors import UserError
from shoestring.escaping import html, html_table
from shoestring.reporting.drawing import Chart, draw
from shoestring.reporting.html import render
from shoestring.reporting.run_data import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIGNIFICANT = 0.05  # adjusted p-value below which a difference is called significant
_COSTS = {
    "examples": "training images",
    "seconds": "time (seconds)",
    "macs": "MACs per forward pass",
}


@dataclass(frozen=True)
class ComparedRun:
    """One of the runs; `result` is that of run.json."""

    name: str
    path: str
    result: Mapping[str, Any]
    loss: Curve
    validation: Curve


@dataclass(frozen=True)
class PairedTest:
    """Two runs on the same test images.

    `difference` is the accuracy of the first minus that of the second, with its 95 % `interval`; `only_first` and
    `only_second` are the numbers of images that only one of them predicts correctly; `adjusted` is the `p_value`
    adjusted for the number of pairs.
    """

    first: str
    second: str
    difference: float
    interval: tuple[float, float]
    only_first: int
    only_second: int
    p_value: float
    adjusted: float

    @property
    def significant(self) -> bool:
        """Whether the difference is significant after the adjustment."""
        return self.adjusted < SIGNIFICANT


@dataclass(frozen=True)
class Comparison:
    """The runs, paired tests of all pairs, and what differs in their recipes and environments: name -> values.

    Without tests, `untested` says why. `is_fair` is False if the accuracies are known to be of different images.
    """

    runs: tuple[ComparedRun, ...]
    tests: tuple[PairedTest, ...]
    untested: str
    differences: Mapping[str, Sequence[Any]]
    is_fair: bool = True

    def _repr_html_(self) -> str:
        tests = html_table(TEST_HEADER, test_rows(self)) if self.tests else f"<p>{html(self.untested)}</p>"
        header = ("different", *(run.name for run in self.runs))
        return f"{html_table(RUN_HEADER, run_rows(self))}{tests}{html_table(header, difference_rows(self))}"

    def plot_pareto(self, cost: str = "seconds", *, axes: Axes | None = None) -> Axes:
        """Draw accuracy over a cost: "seconds", "examples" or "macs". Raises `UserError` for any other."""
        from shoestring.reporting.charts import plot_pareto

        if cost not in _COSTS:
            raise UserError(f"costs are {', '.join(_COSTS)}, not {cost!r}.")
        return plot_pareto(_points(self, cost), cost=_COSTS[cost], axes=axes)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        names = ("accuracy", "interval", "balanced_accuracy", "macro_f1", "validation", "examples", "seconds", "macs")
        names += ("params", "file_bytes", "latency_ms", "latency_threads_ms", "latency_threads", "latency_batch_ms")
        return {
            "runs": [
                {"name": run.name, "path": run.path, **{name: run.result.get(name) for name in names}}
                for run in self.runs
            ],
            "tests": [{**asdict(test), "significant": test.significant} for test in self.tests],
            "untested": self.untested or None,
            "differences": {
                name: dict(zip((run.name for run in self.runs), values)) for name, values in self.differences.items()
            },
        }


RUN_HEADER = ("run", "accuracy", "95 % interval", "training images", "time", "MACs", "parameters", "file", "latency")


def run_rows(comparison: Comparison) -> list[Sequence[str]]:
    """Return a row for each run, under `RUN_HEADER`."""
    rows = []
    for run in comparison.runs:
        result = run.result
        interval = format_interval(result["interval"] or None)
        numbers = (
            f"{result['macs']:,}",
            f"{result['params']:,}",
            f"{result['file_bytes'] / 1e6:.2f} MB",
            _latency(result),
        )
        examples, seconds = f"{result['examples']:,}", format_seconds(result["seconds"])
        rows.append((run.name, format_percent(result["accuracy"]), interval, examples, seconds, *numbers))
    return rows


def _latency(result: Mapping[str, Any]) -> str:
    """The latency of a forward pass on one thread, and on all; not that of earlier versions, on unknown threads."""
    if "latency_threads" not in result:
        return "-"
    threads = result["latency_threads_ms"]
    more = "" if threads is None else f" ({threads:.2f} on {result['latency_threads']} threads)"
    return f"{result['latency_ms']:.2f} ms{more}"


TEST_HEADER = ("runs", "difference", "95 % interval", "only one is right", "p, adjusted", "significant")


def test_rows(comparison: Comparison) -> list[Sequence[str]]:
    """Return a row for each pair of runs, under `TEST_HEADER`."""
    return [
        (
            f"{test.first} - {test.second}",
            f"{100 * test.difference:+.1f} points",
            f"{100 * test.interval[0]:+.1f} to {100 * test.interval[1]:+.1f}",
            f"{test.only_first:,} : {test.only_second:,}",
            format_p(test.adjusted),
            "yes" if test.significant else "no",
        )
        for test in comparison.tests
    ]


def format_p(value: float) -> str:
    """Format a p-value: "0.034", or "< 0.001"."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def difference_rows(comparison: Comparison) -> list[Sequence[str]]:
    """Return a row for each setting that differs: its name, and the value of each run."""
    return [
        (name, *("-" if value is None else str(value) for value in values))
        for name, values in comparison.differences.items()
    ]


def comparison_page(comparison: Comparison) -> str:
    """Render the page of several runs."""
    return render(
        "comparison.html",
        comparison=comparison,
        summary=_summary(comparison),
        run_header=RUN_HEADER,
        run_rows=run_rows(comparison),
        test_header=TEST_HEADER,
        test_rows=test_rows(comparison),
        differences=difference_rows(comparison),
        charts=list(_charts(comparison)),
        written="",
    )


def _summary(comparison: Comparison) -> str:
    measured = [run for run in comparison.runs if run.result["accuracy"] is not None]
    if not measured:
        return "No accuracy was measured."
    if not comparison.is_fair:
        return "The runs were tested on different images: their accuracies stand side by side, but cannot be compared."
    best = max(measured, key=lambda run: run.result["accuracy"])
    text = f"{best.name} is most accurate, {format_percent(best.result['accuracy'])}"
    mine = [test for test in comparison.tests if best.name in (test.first, test.second)]
    if not mine:
        return f"{text}."
    beaten = [test.second if test.first == best.name else test.first for test in mine if test.significant]
    if len(beaten) == len(mine):
        return f"{text}, significantly more than {'all others' if len(mine) > 1 else beaten[0]}."
    others = [test.second if test.first == best.name else test.first for test in mine if not test.significant]
    if len(others) == 1:
        return f"{text}; the difference to {others[0]} is not significant."
    return f"{text}; the differences to {', '.join(others[:-1])} and {others[-1]} are not significant."


def _points(comparison: Comparison, cost: str) -> dict[str, tuple[float, float, tuple[float, float]]]:
    """Cost, accuracy and its interval of each run whose accuracy was measured."""
    measured = [run for run in comparison.runs if run.result["accuracy"] is not None]
    return {run.name: (run.result[cost], run.result["accuracy"], tuple(run.result["interval"])) for run in measured}


def _charts(comparison: Comparison) -> Iterator[Chart]:
    from shoestring.reporting.charts import pareto_front, plot_curves, plot_pareto

    for key, cost in _COSTS.items() if comparison.is_fair else ():
        points = _points(comparison, key)
        if len({value for value, *_ in points.values()}) < 2:
            continue
        front = pareto_front({name: (value, accuracy) for name, (value, accuracy, _) in points.items()})
        caption = f"No other run is both cheaper and more accurate than: {', '.join(front)}. Lines are 95 % intervals."
        yield draw(f"pareto-{key}", caption, plot_pareto, points, cost=cost)
    for key, quantity, title in (("validation", "accuracy", "Validation accuracy"), ("loss", "loss", "Training loss")):
        curves = {run.name: getattr(run, key) for run in comparison.runs if len(getattr(run, key)[0]) > 1}
        if curves:
            caption = f"{title} of {', '.join(curves)}, over the seconds since the start of each run."
            percent = key == "validation"
            yield draw(f"curve-{key}", caption, plot_curves, curves, quantity=quantity, title=title, percent=percent)
