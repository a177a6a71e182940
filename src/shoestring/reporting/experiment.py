"""The report of an experiment: its sentences, report.md and trials.csv, and the page with its charts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from shoestring.config.units import format_interval, format_percent, format_seconds
from shoestring.escaping import markdown, write_csv
from shoestring.reporting.drawing import Chart, draw
from shoestring.reporting.experiment_tables import MAX_ROWS, tables
from shoestring.reporting.html import render
from shoestring.reporting.markdown import table
from shoestring.reporting.multi_label import is_multi_label, label_headline
from shoestring.reporting.style import MAX_LABEL
from shoestring.runtime.files import atomic_write, write_text

PAGE = Path("report") / "index.html"
_FEW = 200  # validation images, with which combinations can hardly be told apart
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
        parts += [f"## {one.title}", table(one.header, one.rows) if one.rows else "", markdown(one.text)]
    write_text(folder / "report" / "report.md", "\n\n".join(part for part in parts if part) + "\n")
    write_text(folder / str(PAGE), experiment_page(result, charts=charts))


def experiment_page(result: Mapping[str, Any], *, charts: bool = True) -> str:
    """Render the page of an experiment."""
    return render(
        "experiment.html",
        title=headline(result),
        lead=_lead(result),
        notes=notes(result),
        tables=tables(result),
        charts=list(_charts(result)) if charts else [],
        written="",
    )


def headline(result: Mapping[str, Any]) -> str:
    """Summarize the result in one sentence."""
    if result["kind"] == "folds":
        metrics, row = result["out_of_fold"], result["rows"][0]
        images = f"{metrics['images']:,} images in {result['repeats']} folds"
        if is_multi_label(metrics):
            return f"Out of fold: {label_headline({**metrics, 'interval': row['interval']}, images)}"
        accuracy = f"{format_percent(metrics['accuracy'])} ({format_interval(row['interval'])})"
        return f"Out-of-fold accuracy {accuracy} on {images}"
    if result["kind"] == "seeds":
        row = result["rows"][0]
        seeds = f"mean of {len(row['runs'])} seeds" if len(row["runs"]) > 1 else "one seed"
        accuracy = f"{format_percent(row['accuracy'])} ({format_interval(row['interval'])})"
        return f"{result['split'].capitalize()} accuracy {accuracy}, {seeds}"
    if result["chosen"] is None:
        return "No combination of settings has finished all of its runs"
    test, best = result["test"], next(row for row in result["rows"] if row["name"] == result["chosen"])
    if test is None:
        accuracy = f"{format_percent(best['accuracy'])} ({format_interval(best['interval'])})"
        return f"{result['chosen']}: validation accuracy {accuracy}"
    tested = f"test accuracy {format_percent(test['accuracy'])} ({format_interval(test['interval'])})"
    return f"{result['chosen']}: {tested}, validation {format_percent(best['accuracy'])}"


def notes(result: Mapping[str, Any]) -> list[str]:
    """Return what the tables do not say."""
    lines = []
    if count := result["left_out"]:
        were = "1 run was" if count == 1 else f"{count:,} runs were"
        lines.append(f"{were} left out, for lack of time or after a failure.")
    if is_multi_label(result):
        lines.append("Accuracy is the fraction of images whose labels are all right.")
    lines += _about_sweep(result) if result["kind"] == "sweep" else [_about_interval(result)]
    if result["front"]:
        lines.append(f"Not beaten in both accuracy and {_COSTS[result['against']]}: {', '.join(result['front'])}.")
    return lines


def _about_sweep(result: Mapping[str, Any]) -> Iterator[str]:
    """Say how combinations were compared."""
    folds, test, first = result["folds"], result["test"], result["rows"][0]
    if folds:
        text = (
            f"Combinations were compared in a cross-validation of {folds} folds of the training images: each run was "
            "trained without one of them, and validated on it."
        )
    else:
        text = "Combinations were compared on validation images."
    text += " The best of many is partly lucky, so its validation accuracy is optimistic"
    if test is None:
        text += "; no test images were used."
    else:
        mean = f" The test accuracy is the mean of its {len(test['runs'])} runs." if len(test["runs"]) > 1 else ""
        text += f"; the test images were used once, for the one that was chosen.{mean}"
    yield text
    if not folds and first["images"] is not None and first["images"] < _FEW:
        yield (
            f"{first['images']:,} validation images can hardly tell combinations apart. With --folds 5 they are "
            "compared on all training images."
        )


def _about_interval(result: Mapping[str, Any]) -> str:
    """Say what the interval of seeds or folds is of."""
    row = result["rows"][0]
    if result["kind"] == "folds":
        return (
            "The interval is that of the mean over folds, widened because their training images overlap (Nadeau & "
            f"Bengio 2003). It is for networks trained on {row['examples']:,.0f} images, as many as in a fold's run."
        )
    if len(row["runs"]) > 1:
        return "The interval is that of the mean over seeds, on the same images (Student's t)."
    return "Only one run is finished. The interval is that of its accuracy on these images, without other seeds."


def _lead(result: Mapping[str, Any]) -> str:
    limit = "" if result["time"] is None else f" of {format_seconds(result['time'])}"
    runs = "1 run" if result["runs"] == 1 else f"{result['runs']:,} runs"
    return f"{runs} on {result['data']}, in {format_seconds(result['seconds'])}{limit}."


def _charts(result: Mapping[str, Any]) -> Iterator[Chart]:
    from shoestring.reporting.charts import plot_pareto, row_chart_height
    from shoestring.reporting.experiment_charts import plot_combinations, plot_effect, plot_importance

    split, varied = result["split"], result["kind"] == "sweep"
    rows = [row for row in result["rows"] if row["accuracy"] is not None][:MAX_ROWS]
    names, meaning = _chart_names(rows, result["data"])
    shown = {name: (row["accuracy"], row["interval"], row["accuracies"]) for name, row in zip(names, rows)}
    several = any(len(row["runs"]) > 1 for row in rows)
    caption = f"Lines are 95 % intervals{'; hollow points are single runs' if several else ''}.{meaning}"
    title, height = "Accuracy by settings" if varied else "Accuracy", row_chart_height(len(shown))
    yield draw("settings", caption, plot_combinations, shown, split=split, title=title, height=height)
    explained = {one["setting"]: one["explained"] for one in result["effects"] if one["explained"] is not None}
    if len(explained) > 1:
        ordered = dict(sorted(explained.items(), key=lambda item: -item[1]))
        first, part = next(iter(ordered.items()))
        caption = f"{first} alone explains {format_percent(part)} of the variance between combinations."
        yield draw("importance", caption, plot_importance, ordered, height=row_chart_height(len(ordered)))
    where = ", in the first round" if len(result["rounds"]) > 1 else ""
    for number, effect in enumerate(result["effects"]):
        if not effect["values"]:
            continue
        same = f"Mean over all combinations with the same {effect['setting']}{where}."
        caption = f"Each point is a combination{where}." if effect["range"] else same
        height = 2.6 if effect["range"] else row_chart_height(min(len(effect["values"]), MAX_ROWS))
        yield draw(f"effect-{number}", caption, plot_effect, effect, split=split, height=height)
    complete = [(str(rank), row) for rank, row in enumerate(rows, 1) if row["complete"]]
    if result["against"] and len({row[result["against"]] for _, row in complete}) > 1:
        points = {rank: (row[result["against"]], row["accuracy"], tuple(row["interval"])) for rank, row in complete}
        front = ", ".join(result["front"])
        caption = (
            f"No other combination is both cheaper and more accurate than: {front}. Numbers are ranks in the table."
        )
        yield draw("pareto", caption, plot_pareto, points, cost=_COSTS[result["against"]])


def _chart_names(rows: Sequence[Mapping[str, Any]], data: str) -> tuple[list[str], str]:
    """Return names of combinations for charts, from the settings in which they differ, and what they mean."""
    settings = [row["settings"] for row in rows]
    varied = [name for name in settings[0] if len({str(one[name]) for one in settings}) > 1]
    last = Counter(name.rpartition(".")[2] for name in varied)
    short = {name: field if last[field := name.rpartition(".")[2]] == 1 else name for name in varied}
    if not varied:
        return [row["name"] or data for row in rows], ""
    names = [" ".join(f"{short[name]}={one[name]}" for name in varied) for one in settings]
    if max(map(len, names)) <= MAX_LABEL:
        return names, ""
    names, text = [", ".join(str(one[name]) for name in varied) for one in settings], ""
    if len(varied) > 1 or max(map(len, names)) <= MAX_LABEL:
        text = f" Names are the values of {', '.join(short.values())}."
    if max(map(len, names)) > MAX_LABEL:
        names = [f"{rank}. {name}" for rank, name in enumerate(names, 1)]
        text += " Numbers are ranks in the table."
    return names, text
