"""Run an experiment in its folder: its runs, what they say, the test of what was chosen, and the report."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shoestring.config.labels import LABEL_FIELDS
from shoestring.config.paths import expanded
from shoestring.config.recipe import SweepRecipe
from shoestring.data import source_key
from shoestring.data.label_columns import as_labels
from shoestring.errors import UserError
from shoestring.experiments.clock import Clock
from shoestring.experiments.experiment import Experiment
from shoestring.experiments.processes import Processes, choose_jobs
from shoestring.experiments.record import Record
from shoestring.experiments.schedule import Schedule
from shoestring.experiments.search import make_search
from shoestring.experiments.settings import check_experiment
from shoestring.runs.validate import check_run_folder
from shoestring.runtime.cores import cores
from shoestring.runtime.files import lock_folder

_CHART_SECONDS = 2.0  # for importing matplotlib and drawing all charts


def run(
    recipe: SweepRecipe,
    out: str | Path,
    *,
    started: float | None = None,
    log: Callable[[str], None] = lambda text: None,
    on_progress: Callable[[float], None] = lambda fraction: None,
) -> dict[str, Any]:
    """Run an experiment, or the rest of an interrupted one, in the folder `out`; return its results as plain values.

    The clock started at `started` (`time.monotonic` scale; None: now). Raises `UserError` for what cannot be run, such
    as data that do not exist, before anything starts, and `BudgetTooSmall`.
    """
    folder, started = expanded(out).absolute(), time.monotonic() if started is None else started
    check_experiment(recipe)
    check_run_folder(recipe, folder)
    record = Record(folder, recipe)
    if record.result is not None:
        log(f"{folder} is already done; delete it to start over")
        return record.result
    schedule = Schedule(recipe, make_search(recipe), record.content.get("settings", ()), log)
    source_key(recipe.data, labels=as_labels(**{name: getattr(recipe, name) for name in LABEL_FIELDS}))
    with lock_folder(folder):
        before = float(record.content.get("elapsed", 0.0))
        if before:
            log(f"{folder} was interrupted after {before:.0f} s; resuming it")
        total = None if recipe.time is None else float(recipe.time)
        clock = Clock(total, started, before, tests=bool(recipe.sweep.over) and recipe.evaluate is None)
        jobs = choose_jobs(recipe.sweep.jobs, recipe.device, schedule.total)
        threads = max(cores() // jobs, 1)
        log(f"{schedule.total} runs, {jobs} at a time")
        try:
            with Processes(folder, jobs, threads) as processes:
                Experiment(recipe, schedule, clock, record, processes, log, on_progress).run()
        except UserError:
            record.discard()
            raise
        return _finish(recipe, schedule, clock, record, log)


def _finish(
    recipe: SweepRecipe, schedule: Schedule, clock: Clock, record: Record, log: Callable[[str], None]
) -> dict[str, Any]:
    """Compute the results, test what was chosen, write all files, and return the results."""
    from shoestring.experiments.summary import summarize
    from shoestring.reporting.experiment import write_files

    folder = record.folder
    result = summarize(recipe, schedule, folder)
    result |= {"test": None, "out_of_fold": None, "data": Path(recipe.data).name}
    if result["kind"] == "folds":
        if result["left_out"]:
            done = schedule.total - result["left_out"]
            raise UserError(
                f"only {done} of {schedule.total} folds are finished in --time {recipe.time}: choose a larger one, and "
                "another --out."
            )
        from shoestring.experiments.out_of_fold import write_out_of_fold

        result["out_of_fold"] = write_out_of_fold(folder, schedule)
    if result["chosen"] is not None and recipe.evaluate is None:
        from shoestring.experiments.final import evaluate_on_test

        log(f"testing {result['chosen']}")
        best = next(row for row in result["rows"] if row["name"] == result["chosen"])
        options: dict[str, Any] = {"device": recipe.device, "remaining": lambda: clock.for_test, "log": log}
        result["test"] = evaluate_on_test(folder, best["runs"], overlap=best["overlap"], **options)
    result |= {"time": clock.total, "out": str(folder), "seconds": round(clock.elapsed, 3)}
    enough = clock.total is None or clock.total - clock.elapsed > _CHART_SECONDS
    write_files(folder, result, charts=enough)
    if not enough:
        log(f"no time for charts: `shoestring report {folder}` draws them")
    result["seconds"] = round(clock.elapsed, 3)
    record.save(result=result, elapsed=result["seconds"])
    return result
