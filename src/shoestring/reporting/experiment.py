"""The report of an experiment: tables for the terminal, report.md and trials.csv, and the page with its charts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shoestring.config.units import format_interval, format_percent, format_seconds
from shoestring.escaping import markdown, write_csv
from shoestring.reporting.comparison import SIGNIFICANT, format_p
from shoestring.reporting.html import render
from shoestring.reporting.markdown import table
from shoestring.reporting.run_charts import Chart, draw
from shoestring.reporting.tables import Table
from shoestring.runtime.files import atomic_write, write_text

PAGE = Path("report") / "index.html"
_MAX_ROWS = 30  # combinations in a table of the terminal, or a chart
_COSTS = {"macs": "MACs", "params": "parameters", "latency_ms": "latency (ms)", "seconds": "time (seconds)"}
_COLUMNS = ("name", "round", "accuracy", "min", "max", "images", "examples", *_COSTS, "complete", "error")


def write_files(folder: Path, result: Mapping[str, Any], *, charts: bool = True) -> None:
    """Write trials.csv, report/report.md and report/index.html into the folder of an experiment."""
    with atomic_write(folder / "trials.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
        settings = list(result["rows"][0]["settings"])
        rows = (
            [*(row["settings"][name] for name in settings), *(row[name] for name in _COLUMNS)] for row in result["rows"]
        )
        write_csv(out, [*settings, *_COLUMNS], rows)
    parts = [f"# {markdown(headline(result))}", *map(markdown, notes(result))]
    for one in tables(result):
        parts += [f"## {one.title}", table(one.header, one.rows), markdown(one.text)]
    write_text(folder / "report" / "report.md", "\n\n".join(part for part in parts if part) + "\n")
    write_text(
        folder / str(PAGE),
        render(
            "experiment.html",
            title=headline(result),
            lead=_lead(result),
            notes=notes(result),
            tables=tables(result),
            charts=list(_charts(result)) if charts else [],
            written="",
        ),
    )


def headline(result: Mapping[str, Any]) -> str:
    """Summarize the result in one sentence."""
    if result["kind"] == "folds":
        metrics, row = result["out_of_fold"], result["rows"][0]
        return (
            f"Out-of-fold accuracy {format_percent(metrics['accuracy'])} ({format_interval(row['interval'])}) on "
            f"{metrics['images']:,} images in {result['repeats']} folds"
        )
    if result["kind"] == "seeds":
        row = result["rows"][0]
        return (
            f"{result['split'].capitalize()} accuracy {format_percent(row['accuracy'])} "
            f"({format_interval(row['interval'])}), mean of {len(row['runs'])} seeds"
        )
    if result["chosen"] is None:
        return "No combination of settings has finished all of its runs"
    test, best = result["test"], next(row for row in result["rows"] if row["name"] == result["chosen"])
    tested = "no test images" if test is None else f"test accuracy {format_percent(test['accuracy'])}"
    between = "" if test is None else f" ({format_interval(test['interval'])})"
    return f"{result['chosen']}: {tested}{between}, validation {format_percent(best['accuracy'])}"


def notes(result: Mapping[str, Any]) -> list[str]:
    """Return what the tables do not say."""
    lines = []
    if result["left_out"]:
        lines.append(f"{result['left_out']:,} runs were left out, for lack of time or after a failure.")
    if result["kind"] == "sweep":
        lines.append(
            "Combinations were compared on validation images. The best of many is partly lucky, so its validation "
            "accuracy is optimistic; the test images were used once, for the one that was chosen."
        )
    elif result["kind"] == "folds":
        lines.append(
            "The interval is that of the mean over folds, widened because their training images overlap (Nadeau & "
            "Bengio 2003). It is for networks trained on as many images as these."
        )
    else:
        lines.append("The interval is that of the mean over seeds, on the same images (Student's t).")
    if result["against"]:
        lines.append(f"Not beaten in both accuracy and {_COSTS[result['against']]}: {', '.join(result['front'])}.")
    return lines


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Return the tables of an experiment."""
    if result["kind"] == "sweep":
        found = [_combinations(result), _tests(result), _effects(result)]
    else:
        found = [_runs(result), _classes(result)]
    return [one for one in found if one.rows or one.text]


def _lead(result: Mapping[str, Any]) -> str:
    runs = sum(len(row["runs"]) for row in result["rows"])
    limit = "" if result["time"] is None else f" of {format_seconds(result['time'])}"
    return f"{runs} runs on {result['data']}, in {format_seconds(result['seconds'])}{limit}."


def _combinations(result: Mapping[str, Any]) -> Table:
    several, halving = result["repeats"] > 1, len(result["rounds"]) > 1
    header = ["settings", f"{result['split']} accuracy", "95 % interval"]
    header += (["runs"] if several else []) + (["round"] if halving else [])
    rows = []
    for row in result["rows"][:_MAX_ROWS]:
        cells = [row["name"], format_percent(row["accuracy"]), format_interval(row["interval"])]
        cells += ([str(len(row["runs"]))] if several else []) + ([str(row["round"] + 1)] if halving else [])
        known = row["macs"] is not None
        cells += (
            [f"{row['macs']:,.0f}", f"{row['params']:,.0f}", format_seconds(row["seconds"])] if known else ["-"] * 3
        )
        rows.append([*cells, row["error"] or ("chosen" if row["name"] == result["chosen"] else "")])
    more = len(result["rows"]) - len(rows)
    text = f"{more:,} more are in trials.csv." if more else ""
    return Table([*header, "MACs", "parameters", "time", ""], rows, "Combinations, best first", text)


def _runs(result: Mapping[str, Any]) -> Table:
    row = result["rows"][0]
    rows = [[name, format_percent(value)] for name, value in zip(row["runs"], row["accuracies"])]
    mean = [f"mean of {len(rows)}", f"{format_percent(row['accuracy'])}  ({format_interval(row['interval'])})"]
    split = "accuracy on the fold" if result["kind"] == "folds" else f"{result['split']} accuracy"
    return Table(("run", split), [*rows, mean], "Runs")


def _classes(result: Mapping[str, Any]) -> Table:
    metrics = result["out_of_fold"]
    if metrics is None:
        return Table((), ())
    rows = [
        [name, f"{entry['images']:,}", *(format_percent(entry[key]) for key in ("recall", "precision", "f1"))]
        for name, entry in metrics["per_class"].items()
    ]
    text = (
        f"Balanced accuracy {format_percent(metrics['balanced_accuracy'])}, loss {metrics['loss']:.3f}, calibration "
        f"error {metrics['calibration_error']:.3f}, of all out-of-fold predictions, which are in out_of_fold.csv."
    )
    return Table(("class", "images", "recall", "precision", "F1"), rows, "Classes, out of fold", text)


def _tests(result: Mapping[str, Any]) -> Table:
    chosen = result["chosen"]
    mine = [test for test in result["tests"] if chosen in (test["first"], test["second"])]
    rows = [
        [
            f"{test['first']} - {test['second']}",
            f"{100 * test['difference']:+.1f} points",
            f"{100 * test['interval'][0]:+.1f} to {100 * test['interval'][1]:+.1f}",
            format_p(test["adjusted"]),
            "yes" if test["adjusted"] < SIGNIFICANT else "no",
        ]
        for test in mine[:_MAX_ROWS]
    ]
    how = (
        "paired t-test over the seeds"
        if result["repeats"] > 1
        else "exact test of McNemar (1947) on the validation images"
    )
    count = len(result["tests"])
    adjusted = f"; p-values are adjusted for all {count} pairs (Holm 1979)" if count > 1 else ""
    text = f"{how[0].upper()}{how[1:]}{adjusted}."
    header = ("combinations", "difference", "95 % interval", "p, adjusted", "significant")
    return Table(header, rows, "Is the chosen one better?", text if rows else result["untested"])


def _effects(result: Mapping[str, Any]) -> Table:
    rows = []
    for effect in sorted(result["effects"], key=lambda one: -(one["explained"] or 0.0)):
        known = [entry for entry in effect["values"] if entry["accuracy"] is not None]
        best = max(known, key=lambda entry: entry["accuracy"], default=None)
        spread = max((entry["accuracy"] for entry in known), default=0) - min((e["accuracy"] for e in known), default=0)
        value = "-" if best is None else f"{best['value']} ({format_percent(best['accuracy'])})"
        rows.append([effect["setting"], format_percent(effect["explained"]), value, f"{100 * spread:.1f} points"])
    text = "Explained: the part of the variance between combinations, less what chance would explain."
    header = ("setting", "explained", "best value on average", "best - worst")
    known = any(effect["explained"] is not None for effect in result["effects"])
    return Table(header, rows, "What mattered", text if known else "")


def _charts(result: Mapping[str, Any]) -> Iterator[Chart]:
    from shoestring.reporting.charts import plot_pareto, row_chart_height
    from shoestring.reporting.experiment_charts import plot_combinations, plot_effect, plot_importance

    split = result["split"]
    rows = [row for row in result["rows"] if row["accuracy"] is not None][:_MAX_ROWS]
    shown = {
        row["name"] or result["data"]: (row["accuracy"], row["interval"] or (row["accuracy"],) * 2, row["accuracies"])
        for row in rows
    }
    caption = "Lines are 95 % intervals of the mean; hollow points are single runs."
    yield draw("settings", caption, plot_combinations, shown, split=split, height=row_chart_height(len(shown)))
    explained = {one["setting"]: one["explained"] for one in result["effects"] if one["explained"] is not None}
    if len(explained) > 1:
        ordered = dict(sorted(explained.items(), key=lambda item: -item[1]))
        caption = f"Most of the difference between combinations comes from {next(iter(ordered))}."
        yield draw("importance", caption, plot_importance, ordered, height=row_chart_height(len(ordered)))
    for number, effect in enumerate(result["effects"]):
        caption = f"Mean over all combinations with the same {effect['setting']}, in the first round."
        yield draw(f"effect-{number}", caption, plot_effect, effect, split=split, height=2.6)
    if result["against"] and len({row[result["against"]] for row in rows}) > 1:
        points = {row["name"]: (row[result["against"]], row["accuracy"], tuple(row["interval"])) for row in rows}
        caption = f"No other combination is both cheaper and more accurate than: {', '.join(result['front'])}."
        yield draw("pareto", caption, plot_pareto, points, cost=_COSTS[result["against"]])
