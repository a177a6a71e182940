"""Write the reports of a finished run: report.md, the page index.html, and the model card README.md."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from shoestring.reporting.card import model_card
from shoestring.reporting.html import run_page
from shoestring.reporting.pictures import Gallery
from shoestring.runs.directory import RunDir
from shoestring.runs.gallery import Left, Sources, make_gallery
from shoestring.runs.predictions_file import read_any_predictions
from shoestring.runs.report_data import collect
from shoestring.runs.session import Run
from shoestring.runtime.files import write_text

PAGE, CARD = Path("report") / "index.html", Path("report") / "README.md"
CHARTS_SECONDS = 2.0  # for importing matplotlib and drawing all charts, on an idle machine
_CHART_SECONDS, _IMPORT_SECONDS = 0.4, 1.0
_PAGE_SECONDS = 0.3  # a page without charts


@dataclass(frozen=True)
class TimeLimit:
    """The seconds that are `left` for the report, and how much slower than idle the machine is."""

    left: Left = lambda: math.inf
    slowdown: float = 1.0

    @property
    def allows_page(self) -> bool:
        """Whether there is time for a page without charts."""
        return self.left() > self.slowdown * _PAGE_SECONDS

    def allows_chart(self) -> bool:
        """Whether there is time for another chart."""
        loading = 0.0 if "matplotlib.figure" in sys.modules else _IMPORT_SECONDS
        return self.left() > self.slowdown * (_CHART_SECONDS + loading)

    def beside_charts(self) -> float:
        """Seconds left for pictures."""
        return self.left() - self.slowdown * CHARTS_SECONDS


def write_page(
    folder: RunDir,
    result: Mapping[str, Any],
    sources: Sources | None,
    *,
    missing: str = "",
    limit: TimeLimit | None = None,
) -> bool:
    """Write the page and the model card of a run; return whether they were written.

    They are not if there is no time. Without `sources` the page has no pictures, and `missing` is the reason. Raises
    `UserError` for corrupted files.
    """
    limit = limit or TimeLimit()
    if not limit.allows_page:
        return False
    gallery = Gallery.empty()
    predictions = read_any_predictions(folder.path, result)
    if sources is not None:
        seconds = result["latency_batch_ms"] or result["latency_ms"]
        gallery = make_gallery(sources, predictions, left=limit.beside_charts, seconds_per_pass=seconds / 1000)
    run = collect(folder, result, gallery, predictions, missing=missing)
    folder.check_exists()
    write_text(folder / str(CARD), model_card(run))
    write_text(folder / str(PAGE), run_page(run, has_time=limit.allows_chart))
    return True


def write_in_budget(run: Run, result: dict[str, Any], sources: Sources, *, limited: bool = True) -> None:
    """Write the page and the model card of a run, and add their time to its results.

    If it is `limited` and the budget is a time, they take at most what remains of it. Nothing is written if the recipe
    disables the report.
    """
    if run.recipe.report is False:
        return
    run.folder.check_exists()
    budget, limit = run.budget, TimeLimit()
    if limited and budget.unit == "seconds":
        limit = TimeLimit(partial(budget.remaining_for, "report"), budget.slowdown)
    with budget.track("report"):
        written = write_page(run.folder, result, sources, limit=limit)
    if not written:
        path = run.folder.path
        (path / PAGE).unlink(missing_ok=True)  # of the run before it was finished
        run.context.log(f"no time for {path / PAGE}: `shoestring report {path}` writes it")
    seconds = budget.ledger["report"]
    result["seconds"] = round(result["seconds"] + seconds, 3)
    result["ledger"]["report"] = round(seconds, 3)
