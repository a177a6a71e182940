"""Write the reports of a finished run: report.md, the page index.html, and the model card README.md."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shoestring.budget import Budget
from shoestring.reporting.card import model_card
from shoestring.reporting.html import run_page
from shoestring.reporting.pictures import Gallery
from shoestring.reporting.run_charts import Charts, run_charts
from shoestring.reporting.run_data import RunData
from shoestring.reporting.style import warm_up
from shoestring.runs.directory import RunDir
from shoestring.runs.gallery import Sources, make_gallery
from shoestring.runs.predictions_file import read_any_predictions
from shoestring.runs.report_data import collect
from shoestring.runs.session import Run
from shoestring.runtime.files import write_text

PAGE, CARD = Path("report") / "index.html", Path("report") / "README.md"
_IMPORT_SECONDS, _CHART_SECONDS = 1.0, 0.4  # loading matplotlib and its fonts, and a chart, on an idle machine
_PAGE_SECONDS = 0.3  # rendering and writing a page without charts
_LONGER = 1.5  # how many times longer than those before a chart may take
_LEAST_MEASURED = 0.1  # seconds of charts from which on they say how busy the machine is


class TimeLimit:
    """What there is time for in a report: parts that end within a `budget` of seconds, or all without one.

    Times are estimated for an idle machine, times the slowdown of training. Once there is a chart, they are measured.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        self._budget = budget if budget is not None and budget.unit == "seconds" else None
        self._chart: float | None = None  # seconds that a chart may take, once charts are drawn
        self._longest = self._seconds = self._processor = 0.0  # of the charts so far
        self._began = (0.0, 0.0)  # when the last chart was begun: wall clock, processor time

    @property
    def allows_page(self) -> bool:
        """Whether there is time for a page without charts."""
        return self._budget is None or self._remaining() > self._budget.slowdown * _PAGE_SECONDS

    def left(self) -> float:
        """Return the seconds for further parts; the chart of the time and the page are made last."""
        if self._budget is None:
            return math.inf
        return self._remaining() - self._budget.slowdown * _PAGE_SECONDS - (self._chart or 0.0)

    def allows_chart(self) -> bool:
        """Whether there is time for another chart; call it before each, as it measures the one before."""
        if self._budget is None:
            return True
        if self._chart is None:
            loading = 0.0 if "matplotlib.figure" in sys.modules else self._budget.slowdown * _IMPORT_SECONDS
            first = self._budget.slowdown * _CHART_SECONDS
            if self.left() < loading + 2 * first:
                return False
            warm_up()
            self._chart = first
        else:
            self._measure(self._budget)
        self._began = (time.monotonic(), time.process_time())
        return self.left() > self._chart

    def _measure(self, budget: Budget) -> None:
        """Learn from the last chart how long the next may take, and whether the machine is less busy by now."""
        seconds, processor = time.monotonic() - self._began[0], time.process_time() - self._began[1]
        self._seconds, self._processor = self._seconds + seconds, self._processor + processor
        self._longest = max(self._longest, seconds)
        self._chart = _LONGER * self._longest
        if self._processor > _LEAST_MEASURED:
            budget.slowdown = max(min(budget.slowdown, self._seconds / self._processor), 1.0)

    def _remaining(self) -> float:
        return math.inf if self._budget is None else self._budget.remaining_for("report")


@dataclass(frozen=True)
class Parts:
    """What a page is made from."""

    run: RunData
    charts: Charts


def make_parts(
    folder: RunDir, result: Mapping[str, Any], sources: Sources | None, limit: TimeLimit, *, missing: str = ""
) -> Parts | None:
    """Draw the charts and collect the pictures of a run, in the order of their importance; None if there is no time.

    Without `sources` there are no pictures, and `missing` is the reason. Raises `UserError` for corrupted files.
    """
    if not limit.allows_page:
        return None
    predictions = read_any_predictions(folder.path, result)
    run = collect(folder, result, Gallery.empty(), predictions, missing=missing)
    charts = run_charts(run, limit.allows_chart)
    if sources is not None:
        seconds = result["latency_batch_ms"] or result["latency_ms"]
        how: dict[str, Any] = {"left": limit.left, "seconds_per_pass": seconds / 1000, "augment": run.augment}
        run = replace(run, gallery=make_gallery(sources, predictions, **how))
    return Parts(run, charts)


def write_page(folder: RunDir, parts: Parts) -> None:
    """Write the page and the model card of a run."""
    folder.check_exists()
    write_text(folder / str(CARD), model_card(parts.run))
    write_text(folder / str(PAGE), run_page(parts.run, parts.charts))


def write_in_budget(run: Run, result: dict[str, Any], sources: Sources, *, limited: bool = True) -> None:
    """Write the page and the model card of a run, and add the time of their parts to its results, which they show.

    If it is `limited` and the budget is a time, they take at most what remains of it. Nothing is written if the recipe
    disables the report.
    """
    if run.recipe.report is False:
        return
    run.folder.check_exists()
    with run.budget.track("report"):
        parts = make_parts(run.folder, result, sources, TimeLimit(run.budget if limited else None))
    seconds = run.budget.ledger["report"]
    result["seconds"] = round(result["seconds"] + seconds, 3)
    result["ledger"]["report"] = round(seconds, 3)
    if parts is not None:
        write_page(run.folder, parts)
        return
    path = run.folder.path
    (path / PAGE).unlink(missing_ok=True)  # of the run before it was finished
    run.context.log(f"no time for {path / PAGE}: `shoestring report {path}` writes it")
