"""The tables of an experiment: its combinations, whether the chosen one is better, and what mattered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoestring.config.units import format_interval, format_percent, format_seconds
from shoestring.reporting.comparison import SIGNIFICANT, format_p
from shoestring.reporting.multi_label import class_table, is_multi_label, label_rows
from shoestring.reporting.tables import Table

MAX_ROWS = 30  # combinations in a table, or a chart


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Return the tables of an experiment."""
    if result["kind"] == "sweep":
        found = [_combinations(result), _tests(result), _effects(result)]
    else:
        found = [_runs(result), _classes(result)]
    return [one for one in found if one.rows or one.text]


def _combinations(result: Mapping[str, Any]) -> Table:
    several, halving = result["repeats"] > 1, len(result["rounds"]) > 1
    header = ["rank", "settings", f"{result['split']} accuracy", "95 % interval"]
    header += (["runs"] if several else []) + (["round"] if halving else [])
    rows = []
    for rank, row in enumerate(result["rows"][:MAX_ROWS], 1):
        cells = [str(rank), row["name"], format_percent(row["accuracy"]), format_interval(row["interval"])]
        cells += ([str(len(row["runs"]))] if several else []) + ([str(row["round"] + 1)] if halving else [])
        known = row["macs"] is not None
        cells += (
            [f"{row['macs']:,.0f}", f"{row['params']:,.0f}", format_seconds(row["seconds"])] if known else ["-"] * 3
        )
        rows.append([*cells, row["error"] or ("chosen" if row["name"] == result["chosen"] else "")])
    more = len(result["rows"]) - len(rows)
    texts = [_about_intervals(result)]
    if halving:
        texts.append("Runs of a later round have a larger budget: accuracies of different rounds cannot be compared.")
    if several or halving:
        texts.append("Costs are those of one run, on average, in the last round of the combination.")
    if more:
        texts.append(f"{more:,} more are in trials.csv.")
    header += ["MACs", "parameters", "time", ""]
    title = "Combinations, by round and accuracy" if halving else "Combinations, most accurate first"
    return Table(header, rows, title, " ".join(texts), wide=(1, len(header) - 1))


def _about_intervals(result: Mapping[str, Any]) -> str:
    """Say what the intervals of combinations are of."""
    images = f"{result['split']} images"
    if result["repeats"] == 1:
        return f"Intervals are of the accuracy of one run on these {images}, without the chance of training."
    what = "folds, widened because their training images overlap (Nadeau & Bengio 2003)" if result["folds"] else "seeds"
    text = f"Intervals are those of the mean over {what}"
    if any(len(row["runs"]) == 1 for row in result["rows"]):
        text += f"; that of a combination with one run is of its accuracy on these {images}"
    return f"{text}."


def _runs(result: Mapping[str, Any]) -> Table:
    row = result["rows"][0]
    rows = [[name, format_percent(value)] for name, value in zip(row["runs"], row["accuracies"])]
    if len(rows) > 1:
        rows.append(
            [f"mean of {len(rows)}", f"{format_percent(row['accuracy'])}  ({format_interval(row['interval'])})"]
        )
    split = "accuracy on the fold" if result["kind"] == "folds" else f"{result['split']} accuracy"
    return Table(("run", split), rows, "Runs")


def _classes(result: Mapping[str, Any]) -> Table:
    metrics = result["out_of_fold"]
    if metrics is None:
        return Table((), ())
    header, rows = class_table(metrics)
    if is_multi_label(metrics):
        figures = ", ".join(f"{name} {value}" for name, value in label_rows(metrics)[:2])
    else:
        figures = f"balanced accuracy {format_percent(metrics['balanced_accuracy'])}"
    text = (
        f"{figures[0].upper()}{figures[1:]}, loss {metrics['loss']:.3f}, calibration error "
        f"{metrics['calibration_error']:.3f}, of all out-of-fold predictions, which are in out_of_fold.csv."
    )
    return Table(header, rows, f"{header[0].capitalize()}{'e' * (header[0] == 'class')}s, out of fold", text)


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
        for test in mine[:MAX_ROWS]
    ]
    if not rows:
        return Table((), (), "Is the chosen one better?", result["untested"])
    if result["folds"]:
        how = "Paired t-test over the folds, corrected for the overlap of training images (Nadeau & Bengio 2003)"
    elif result["repeats"] > 1:
        how = "Paired t-test over the seeds"
    else:
        how = "Exact test of McNemar (1947) on the validation images, and the interval of Agresti and Min (2005)"
    count = len(result["tests"])
    adjusted = f"; p-values are adjusted for all {count} pairs of combinations (Holm 1979)" if count > 1 else ""
    more = f" {len(mine) - len(rows)} more, and other pairs, are in experiment.json." if len(mine) > len(rows) else ""
    header = ("combinations", "difference", "95 % interval", "p, adjusted" if adjusted else "p", "significant")
    return Table(header, rows, "Is the chosen one better?", f"{how}{adjusted}.{more}", wide=(0,))


def _effects(result: Mapping[str, Any]) -> Table:
    rows = []
    for effect in sorted(result["effects"], key=lambda one: -(one["explained"] or 0.0)):
        groups = [
            (f"{one['from']} to {one['to']}" if effect["range"] else str(one["value"]), one["accuracy"])
            for one in effect["bins" if effect["range"] else "values"]
        ]
        if not groups:  # no combination is complete
            continue
        accuracies = [accuracy for _, accuracy in groups]
        best, highest = max(groups, key=lambda group: group[1])
        spread = f"{100 * (highest - min(accuracies)):.1f} points"
        best = f"{best} ({format_percent(highest)})"
        rows.append([effect["setting"], format_percent(effect["explained"]), best, spread])
    texts = ["Averages are over all combinations with the same value" + _in_first_round(result)]
    if any(effect["range"] for effect in result["effects"]):
        texts[0] += ", and of ranges over a third of the combinations, with similar values"
    if any(effect["explained"] is not None for effect in result["effects"]):
        texts.append(
            "Explained: the part of the variance between them that a setting alone explains, less what chance would"
        )
    header = ("setting", "explained", "best on average", "best - worst")
    return Table(header, rows, "What mattered", ". ".join(texts) + "." if rows else "", wide=(2,))


def _in_first_round(result: Mapping[str, Any]) -> str:
    return " in the first round" if len(result["rounds"]) > 1 else ""
