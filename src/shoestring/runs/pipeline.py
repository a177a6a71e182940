"""The pipeline: select -> train -> prune -> evaluate, within one budget, in one run folder."""

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
from shoestring.runs.plan import make_plan, make_planner, record_plan, stored_plan
from shoestring.runs.preflight import check_budget, fit_to_budget
from shoestring.runs.progress import across_runs
from shoestring.runs.session import EXIT_SECONDS, begin, finished_result
from shoestring.runtime import threads
from shoestring.runtime.context import Context
from shoestring.selection import Subset
from shoestring.selection.export import copy_images, write_table
from shoestring.selection.subset_files import never_held_out_file


def run(recipe: Recipe, folder: RunDir, *, context: Context, started: float | None = None) -> dict[str, Any]:
    """Run all steps of the recipe that are not done yet, and return the results, which are saved in the folder.

    The budget's clock started at `started` (`time.monotonic` scale; None: now); what an interrupted run of the same
    recipe spent in the folder is counted. Raises `UserError` and `BudgetTooSmall`; a new folder without results is
    removed then.
    """
    if result := finished_result(recipe, folder, context=context):
        return result
    run_context = replace(context, on_progress=across_runs(context.on_progress, 0, 2)) if recipe.baseline else context
    requested = begin(recipe, folder, context=run_context, started=started)
    data = requested.load()
    requested_side = data.train.shape[0]
    context.log("measuring speed")
    with threads.single_thread(context.threads):
        run, data = fit_to_budget(requested, data)
    planner, plans = make_planner(run), list[Planned | None]()

    def check() -> None:
        check_budget(run, data.train)
        plans.append(make_plan(run, data.train, planner))

    with requested.open_folder(data.train, check=check):
        if "result" in folder.run:  # another process has finished the run in the meantime
            return folder.run["result"]
        planned = plans[0] if plans else stored_plan(run, data.train, planner)
        run.record(surroundings=environment(context))
        record_plan(run, planned, data.train)
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
        same = replace(recipe, train=run.recipe.train)  # the same test-time augmentation, and images of the same size
        if data.train.shape[0] != requested_side:
            same = replace(same, resolution=data.train.shape[0])
        result["baseline"] = _baseline(same, subset, len(images), folder, context)
        result["warnings"] += [f"with random images, {warning}" for warning in result["baseline"]["warnings"]]
    folder.check_exists()
    write_report(folder.path, result)
    return stages.finish(run, result)


def select_only(recipe: Recipe, folder: RunDir, *, context: Context, started: float | None = None) -> dict[str, Any]:
    """Run only the selection; return its results as plain values, including the path of the subset file."""
    if result := finished_result(recipe, folder, context=context, only="select"):
        return result
    run = begin(recipe, folder, context=context, started=started, only="select")
    data = None if recipe.unlabelled else run.load()
    images = run.load_unlabelled() if data is None else data.train
    run.budget.reserve("exit", EXIT_SECONDS)
    context.log("measuring speed")
    with run.open_folder(images, check=None if data is None else partial(check_budget, run, images)):
        subset = stages.select(run, images)
        assert subset is not None
        result = stages.selection_result(run, images, subset, data)
        stages.add_lateness(run, result)
    return stages.finish(run, result)


def export_selection(
    recipe: Recipe, folder: RunDir, *, context: Context, copy: Path | None, table: Path | None, overwrite: bool = False
) -> None:
    """Copy the images of a finished selection to a folder, and list them in a table, if paths are set."""
    run = begin(recipe, folder, context=replace(context, log=lambda text: None), started=None, only="select")
    images = run.load_unlabelled() if recipe.unlabelled else run.load().train
    subset = Subset.load(folder / "select" / "subset.json")
    subset.indices_for(images)
    if copy is not None:
        copy_images(copy, images, subset, root=data_path(recipe.data), overwrite=overwrite)
    if table is not None:
        write_table(table, images, subset, overwrite=overwrite)


def _baseline(recipe: Recipe, subset: Subset | None, examples: int, folder: RunDir, context: Context) -> dict[str, Any]:
    """Run the recipe with random images, the next seed and the same budget again, in a subfolder."""
    context.log("baseline: random images, an equal budget")
    random = Select("random", examples, subset.balance if subset else recipe.select.balance)  # type: ignore[arg-type]
    recipe = replace(recipe, select=random, keep=never_held_out_file(recipe), seed=recipe.seed + 1, baseline=False)
    context = replace(context, seed=recipe.seed, on_progress=across_runs(context.on_progress, 1, 2))
    result = run(recipe, RunDir(folder / "baseline"), context=context)
    return {key: result[key] for key in ("accuracy", "interval", "warnings", "seconds", "out")}
