"""Reports as self-contained HTML pages, from the templates in `templates/`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from shoestring import __version__
from shoestring.config.units import format_percent, format_seconds
from shoestring.escaping import printable
from shoestring.reporting.answers import answers
from shoestring.reporting.findings import findings
from shoestring.reporting.markdown import headline, latency
from shoestring.reporting.run_charts import run_charts
from shoestring.reporting.run_data import RunData

_MAX_MATRIX = 25  # classes whose confusion matrix people can still read
_NO_CHARTS = "Some charts are left out, for lack of time: `shoestring report` draws them."
_MAX_CONFUSIONS = 20  # rows of the table that replaces it


def run_page(run: RunData, *, has_time: Callable[[], bool] = lambda: True) -> str:
    """Render the page of a run; charts that there is no time for are left out, and the page says so."""
    charts, complete = run_charts(run, has_time)
    names = ("classes", "reliability", "budget", "loss", "validation", "layers")
    examples = _examples(run)
    return render(
        "run.html",
        run=run,
        headline=headline(dict(run.result)),
        description=_description(run),
        warnings=run.result.get("warnings", ()),
        tiles=_tiles(run),
        sections=_sections(run),
        findings=findings(run),
        left_out=[*run.left_out, *([] if complete else [_NO_CHARTS])],
        charts={name: charts.get(name) for name in names},
        classes=_class_rows(run),
        matrix=_matrix(run, examples) if len(run.classes) <= _MAX_MATRIX else None,
        confusions=_confusions(run) if len(run.classes) > _MAX_MATRIX else None,
        cells=examples,
        plan=list(answers(run.plan)) if run.plan else None,
        size_header=("", "before pruning", "final") if run.result["before_pruning"] else ("", "value"),
        size_rows=_size_rows(run.result),
        commands=_commands(run),
        environment=list(run.environment.items()),
        written=run.environment.get("at", "")[:16].replace("T", " "),
    )


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
    result = run.result
    parts = [f"{result['model']}, trained on {result['examples']:,} images in {len(run.classes):,} classes"]
    if result["before_pruning"]:
        parts.append("pruned")
    return ", ".join(parts) + "."


def _tiles(run: RunData) -> list[dict[str, str]]:
    """The numbers at the top: accuracy and the three budgets."""
    result, budget = run.result, run.result["budget"]
    interval = result["interval"] and " to ".join(format_percent(bound) for bound in result["interval"])
    pool = result.get("training_pool")
    some = pool is not None and pool != result["examples"]
    timed = budget["unit"] == "seconds"
    before = result["before_pruning"]
    smaller = "" if before is None else f"{100 * (result['macs'] / before['macs'] - 1):+.0f} % by pruning"
    tiles = [
        ("Accuracy", format_percent(result["accuracy"]), f"95 % interval: {interval}" if interval else ""),
        ("Training images", f"{result['examples']:,}", f"of {pool:,}" if some else ""),
        (
            "Time",
            format_seconds(result["seconds"]),
            f"of {format_seconds(budget['total'])}" if timed else f"for {budget['total']:g} {budget['unit']}",
        ),
        ("MACs per forward pass", _compact(result["macs"]), smaller),
        ("Size of the file", f"{result['file_bytes'] / 1e6:.2f} MB", f"{result['params']:,} parameters"),
    ]
    return [{"name": name, "value": value, "text": text} for name, value, text in tiles]


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
        ("classes", "Classes"): True,
        ("mistakes", "Mistakes"): bool(run.cells),
        ("images", "Chosen images"): bool(gallery.chosen),
        ("duplicates", "Near duplicates"): "duplicates" in gallery.notes,
        ("size", "Size and speed"): True,
        ("repeat", "Repeat and use it"): True,
    }
    return [section for section, is_present in present.items() if is_present]


def _class_rows(run: RunData) -> list[Sequence[str]]:
    rows = []
    for name, entry in run.result["per_class"].items():
        interval = run.intervals.get(name)
        between = "-" if interval is None else " to ".join(format_percent(bound) for bound in interval)
        recall, precision, f1 = (format_percent(entry[key]) for key in ("recall", "precision", "f1"))
        rows.append((name, f"{entry['images']:,}", recall, between, precision, f1))
    return rows


def _anchor(label: int, predicted: int) -> str:
    return f"confusion-{label}-{predicted}"


def _examples(run: RunData) -> list[dict[str, Any]]:
    """The cells of the confusion matrix that have pictures, the largest first."""
    names, counts = run.classes, {(label, predicted): images for label, predicted, images in run.cells}
    return [
        {
            "anchor": _anchor(*cell),
            "label": f"{names[cell[0]]}, predicted as {names[cell[1]]}: {_images(counts[cell])}",
            "pictures": pictures,
        }
        for cell, pictures in sorted(run.gallery.cells.items(), key=lambda item: -counts[item[0]])
    ]


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


def _matrix(run: RunData, examples: Sequence[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
    """The rows of the confusion matrix; cells with examples have an anchor."""
    names, anchors = run.classes, {entry["anchor"] for entry in examples}
    counts = {(label, predicted): images for label, predicted, images in run.cells}
    rows = []
    for label in range(len(names)):
        total = sum(counts.get((label, other), 0) for other in range(len(names)))
        row = []
        for predicted in range(len(names)):
            count, anchor = counts.get((label, predicted), 0), _anchor(label, predicted)
            row.append(
                {
                    "count": count,
                    "part": count / total if total else 0.0,
                    "diagonal": label == predicted,
                    "anchor": anchor if anchor in anchors else None,
                    "label": f"{_images(count)} of {names[label]} predicted as {names[predicted]}",
                }
            )
        rows.append(row)
    return rows


def _confusions(run: RunData) -> list[Sequence[str]]:
    names, per_class = run.classes, run.result["per_class"]
    wrong = sorted((cell for cell in run.cells if cell[0] != cell[1]), key=lambda cell: -cell[2])[:_MAX_CONFUSIONS]
    return [
        (
            names[label],
            names[predicted],
            f"{images:,}",
            format_percent(images / per_class[names[label]]["images"]),
        )
        for label, predicted, images in wrong
    ]


def _size_rows(result: Mapping[str, Any]) -> list[Sequence[str]]:
    before, costs = result["before_pruning"], result.get("prediction") or result
    rows = [
        ("parameters", before and f"{before['params']:,}", f"{result['params']:,}"),
        ("MACs per forward pass", before and f"{before['macs']:,}", f"{result['macs']:,}"),
        ("validation accuracy", before and format_percent(before["validation"]), format_percent(result["validation"])),
        ("file", before and "", f"{result['file_bytes'] / 1e6:.2f} MB"),
        ("forward passes per prediction", before and "", f"{costs.get('passes', 1.0):.3g}"),
        ("latency per prediction", before and "", latency(dict(costs))),
    ]
    return [row if before else (row[0], row[2]) for row in rows]


def _commands(run: RunData) -> list[tuple[str, Sequence[str]]]:
    path = shlex.quote(printable(run.result["out"]))
    return [
        ("Predict", [f"shoestring predict {path} photo.jpg"]),
        ("Use it in Python", ["from shoestring import Model", f"model = Model.load({run.result['out']!r})"]),
        ("Repeat the run", [f"shoestring run --recipe {path}/recipe.yaml --out runs/again"]),
        ("Compare it with another run", [f"shoestring compare {path} OTHER_RUN"]),
    ]
