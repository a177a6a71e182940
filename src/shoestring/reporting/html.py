"""Reports as self-contained HTML pages, from the templates in `templates/`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from shoestring import __version__
from shoestring.config.units import format_interval, format_percent, format_seconds
from shoestring.escaping import printable
from shoestring.reporting.answers import answers
from shoestring.reporting.class_tables import (
    change_notes,
    change_table,
    class_table,
    confusion_matrix,
    examples,
    frequent_confusions,
)
from shoestring.reporting.findings import findings
from shoestring.reporting.markdown import a_single_image, averages, headline
from shoestring.reporting.multi_label import is_multi_label, label_rows
from shoestring.reporting.run_charts import Charts, run_charts, with_time_chart
from shoestring.reporting.run_data import RunData
from shoestring.reporting.size_charts import SIZES
from shoestring.reporting.size_tables import layer_table, size_table

_MAX_MATRIX = 25  # classes whose confusion matrix people can still read
_CHARTS = (
    "classes",
    "reliability",
    "changes",
    "budget",
    "loss",
    "validation",
    "layers",
    "latencies",
    "clusters",
    "search",
)


def run_page(run: RunData, charts: Charts | None = None) -> str:
    """Render the page of a run, with these charts of `run_charts`, by default all.

    The chart of its time is drawn here, unless there is no time for any; the page says which parts are left out.
    """
    charts = with_time_chart(run_charts(run) if charts is None else charts, run)
    cells, few = examples(run), len(run.classes) <= _MAX_MATRIX
    return render(
        "run.html",
        run=run,
        headline=page_headline(run),
        description=_description(run),
        warnings=run.result.get("warnings", ()),
        tiles=_tiles(run),
        sections=_sections(run),
        findings=findings(run),
        left_out=[*run.left_out, *_late(run, charts.complete)],
        charts={name: charts.by_name.get(name) for name in _CHARTS},
        sizes=[charts.by_name[name] for name in SIZES if name in charts.by_name],
        several_labels=is_multi_label(run.result),
        classes=class_table(run),
        averages="; ".join(f"{name}: {value}" for name, value in _averages(run)),
        changes=change_table(run),
        change_notes=list(change_notes(run)),
        matrix=confusion_matrix(run, cells) if few and run.cells else None,
        confusions=frequent_confusions(run) if not few and run.cells else None,
        cells=cells,
        plan=list(answers(run.plan)) if run.plan else None,
        size=size_table(run),
        layers=layer_table(run),
        commands=_commands(run),
        environment=list(run.environment.items()),
        written=run.environment.get("at", "")[:16].replace("T", " "),
    )


def _late(run: RunData, has_charts: bool) -> list[str]:
    """Say what is left out for lack of time."""
    parts = [*([] if has_charts else ["some charts"]), *run.gallery.late]
    return (
        [f"Left out, for lack of time: {', '.join(parts)}. The command shoestring report adds them."] if parts else []
    )


def page_headline(run: RunData) -> str:
    """Return the result in one sentence."""
    if not run.unfinished:
        return headline(dict(run.result))
    return f"Not finished: validation accuracy {format_percent(run.result['validation'])} so far"


def render(template: str, **values: Any) -> str:
    """Render a template; all values are escaped, and control characters are shown as escapes."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    return environment.get_template(template).render(version=__version__, **values)


def _shown(value: object) -> object:
    """Return a value as it is shown: percentages are not broken across lines."""
    return value if isinstance(value, Markup) else printable(value).replace(" %", "\u00a0%")


def _description(run: RunData) -> str:
    result, what = run.result, "labels" if is_multi_label(run.result) else "classes"
    examples = "" if result["examples"] is None else f" on {result['examples']:,} images"
    parts = [f"{result['model']}, trained{examples}, with {len(run.classes):,} {what}"]
    if result["before_pruning"]:
        parts.append("pruned")
    return ", ".join(parts) + "."


def _tiles(run: RunData) -> list[dict[str, str]]:
    """The numbers at the top: accuracy and the three budgets."""
    result, budget = run.result, run.result["budget"]
    pool = result.get("training_pool")
    some = pool is not None and pool != result["examples"]
    timed = budget["unit"] == "seconds"
    before = result["before_pruning"]
    smaller = "" if before is None else f"{100 * (result['macs'] / before['macs'] - 1):+.0f} % by pruning"
    tiles = [
        _accuracy(run),
        (
            "Training images",
            "-" if result["examples"] is None else f"{result['examples']:,}",
            f"of {pool:,}" if some else "",
        ),
        (
            "Time",
            format_seconds(result["seconds"]),
            f"of {format_seconds(budget['total'])}" if timed else f"for {budget['total']:g} {budget['unit']}",
        ),
        ("MACs per forward pass", _compact(result["macs"]), smaller),
        ("Size of the file", f"{result['file_bytes'] / 1e6:.2f} MB", f"{result['params']:,} parameters"),
        _latency(result.get("prediction") or result),
    ]
    return [{"name": name, "value": value, "text": text} for name, value, text in tiles]


def _accuracy(run: RunData) -> tuple[str, str, str]:
    """The most important number of the run: name, value, text."""
    result = run.result
    if run.unfinished:
        return "Validation accuracy", format_percent(result["validation"]), "so far"
    if is_multi_label(result):
        exact = f"all labels right: {format_percent(result['accuracy'])}"
        return "Mean average precision", format_percent(result["macro_average_precision"]), exact
    interval = f"95 % interval: {format_interval(result['interval'])}" if result["interval"] else ""
    return "Accuracy", format_percent(result["accuracy"]), interval


def _averages(run: RunData) -> Sequence[tuple[str, str]]:
    """Metrics over all classes or labels beside the accuracy: names and values."""
    if run.result["accuracy"] is None:
        return []
    several = label_rows(run.result) if is_multi_label(run.result) else averages(dict(run.result))
    return [*several, ("loss", f"{run.result['loss']:.3f}")]


def _latency(costs: Mapping[str, Any]) -> tuple[str, str, str]:
    """The time that a single image takes: name, value, text."""
    threads = costs.get("latency_threads_ms")
    more = "" if threads is None else f"; {threads:.2f} ms on {costs['latency_threads']}"
    return "Latency per prediction", f"{costs['latency_ms']:.2f} ms", f"{a_single_image(costs)}{more}"


def _compact(count: float) -> str:
    """Format 1234567 as "1.23 M"."""
    for scale, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count:g}"


def _sections(run: RunData) -> list[tuple[str, str]]:
    gallery = run.gallery
    present = {
        ("training", "Time and training"): True,
        ("classes", "Labels" if is_multi_label(run.result) else "Classes"): not run.unfinished,
        ("mistakes", "Mistakes"): bool(run.cells or gallery.mistakes),
        ("images", "Chosen images"): bool(gallery.chosen),
        ("duplicates", "Near duplicates"): "duplicates" in gallery.notes,
        ("size", "Size and speed"): True,
        ("repeat", "Repeat and use it"): True,
    }
    return [section for section, is_present in present.items() if is_present]


def _commands(run: RunData) -> list[tuple[str, Sequence[str]]]:
    path = shlex.quote(printable(run.result["out"]))
    if run.unfinished:
        return [("Predict with the network so far", [f"shoestring predict {path} photo.jpg"])]
    return [
        ("Predict", [f"shoestring predict {path} photo.jpg"]),
        ("Use it in Python", ["from shoestring import Model", f"model = Model.load({run.result['out']!r})"]),
        ("Repeat the run", [f"shoestring run --recipe {path}/recipe.yaml --out runs/again"]),
        ("Compare it with another run", [f"shoestring compare {path} OTHER_RUN"]),
    ]
