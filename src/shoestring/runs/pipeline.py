"""select -> train -> prune -> evaluate, inside one budget, into one run directory."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from shoestring.config.paths import data_path
from shoestring.config.recipe import Recipe, Select
from shoestring.planning.plan import Planned
from shoestring.reporting.markdown import write_report
from shoestring.runs import stages
from shoestring.runs.directory import RunDir
from shoestring.runs.environment import environment
from shoestring.runs.plan import make_plan, note_plan, planner_of, stored_plan
from shoestring.runs.preflight import check_budget, settle
from shoestring.runs.progress import of_several
from shoestring.runs.session import EXIT, begin, finished
from shoestring.runtime import threads
from shoestring.runtime.context import Context
from shoestring.selection import Subset
from shoestring.selection.export import copy_images, write_table
from shoestring.selection.subset_files import never_held_out_file


def run(recipe: Recipe, folder: RunDir, *, context: Context, started: float | None = None) -> dict[str, Any]:
    """Do all that the recipe asks for and that is not done yet; the results, which the folder holds too.

    The budget's clock began at `started` (`time.monotonic` scale; now, when None); what an interrupted run of the same
    recipe spent in this folder is counted. Raises `UserError` and `BudgetTooSmall`, leaving no new folder behind.
    """
    if result := finished(recipe, folder, context=context):
        return result
    shown = replace(context, on_progress=of_several(context.on_progress, 0, 2)) if recipe.baseline else context
    requested = begin(recipe, folder, context=shown, started=started)
    data = requested.load()
    requested_side = data.train.shape[0]
    context.log("measuring speed")
    with threads.single_thread(context.threads):
        run, data = settle(requested, data)
    planner, plans = planner_of(run), list[Planned | None]()

    def check() -> None:
        check_budget(run, data.train)
        plans.append(make_plan(run, data.train, planner))

    with requested.working(data.train, check=check):
        if "result" in folder.run:  # another process has finished it meanwhile
            return folder.run["result"]
        planned = plans[0] if plans else stored_plan(run, data.train, planner)
        run.note(surroundings=environment(context))
        note_plan(run, planned, data.train)
        subset, images = stages.select(run, data.train), data.train
        if subset is not None:
            images = data.train[subset]
            planned = planned and planned.built_for(images, planner)
        stages.find_leaked_images(run, images, data)
        trained = stages.train(run, images, data.validation, planner, planned)
        final = stages.prune(run, trained, images, data.validation)
        result = stages.evaluate(run, final, data, images, subset)
        stages.add_lateness(run, result)
    if recipe.baseline:
        settled = replace(recipe, train=run.recipe.train)  # with the same views, and images of the same size
        if data.train.shape[0] != requested_side:
            settled = replace(settled, resolution=data.train.shape[0])
        result["baseline"] = _baseline(settled, subset, len(images), folder, context)
        result["warnings"] += [f"with random images, {warning}" for warning in result["baseline"]["warnings"]]
    folder.check_present()
    write_report(folder.path, result)
    return stages.finish(run, result)


def select_only(recipe: Recipe, folder: RunDir, *, context: Context, started: float | None = None) -> dict[str, Any]:
    """Choose images and stop there; what was chosen, and the file that says so."""
    if result := finished(recipe, folder, context=context, only="select"):
        return result
    run = begin(recipe, folder, context=context, started=started, only="select")
    data = None if recipe.unlabelled else run.load()
    images = run.load_unlabelled() if data is None else data.train
    run.budget.reserve("exit", EXIT)
    context.log("measuring speed")
    with run.working(images, check=None if data is None else partial(check_budget, run, images)):
        subset = stages.select(run, images)
        assert subset is not None
        result = stages.selection_result(run, images, subset, data)
        stages.add_lateness(run, result)
    return stages.finish(run, result)


def export_selection(
    recipe: Recipe, folder: RunDir, *, context: Context, copy: Path | None, table: Path | None, overwrite: bool = False
) -> None:
    """Copy the images that a finished choice took into a folder, and list them in a table, as far as wanted."""
    run = begin(recipe, folder, context=replace(context, log=lambda text: None), started=None, only="select")
    images = run.load_unlabelled() if recipe.unlabelled else run.load().train
    subset = Subset.load(folder / "select" / "subset.json")
    subset.indices_for(images)
    if copy is not None:
        copy_images(copy, images, subset, root=data_path(recipe.data), overwrite=overwrite)
    if table is not None:
        write_table(table, images, subset, overwrite=overwrite)


def _baseline(recipe: Recipe, subset: Subset | None, examples: int, folder: RunDir, context: Context) -> dict[str, Any]:
    """The same recipe with random images, drawn by the next seed, and a budget of its own, in a folder inside."""
    context.log("baseline: random images, an equal budget")
    control = Select("random", examples, subset.balance if subset else recipe.select.balance)  # type: ignore[arg-type]
    other = replace(recipe, select=control, keep=never_held_out_file(recipe), seed=recipe.seed + 1, baseline=False)
    around = replace(context, seed=other.seed, on_progress=of_several(context.on_progress, 1, 2))
    result = run(other, RunDir(folder / "baseline"), context=around)
    return {key: result[key] for key in ("accuracy", "interval", "warnings", "seconds", "out")}
