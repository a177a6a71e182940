"""The pipeline: select -> train -> prune -> evaluate, within one budget, in one run folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from shoestring.config.paths import data_path
from shoestring.config.recipe import Recipe, Select
from shoestring.data import Dataset
from shoestring.planning.resolve import Resolved
from shoestring.reporting.markdown import write_report
from shoestring.runs import steps
from shoestring.runs.comparison import paired_values
from shoestring.runs.directory import RunDir
from shoestring.runs.environment import environment
from shoestring.runs.finished import add_lateness
from shoestring.runs.plan import make_plan, record_plan
from shoestring.runs.progress import across_runs
from shoestring.runs.report import write_in_budget
from shoestring.runs.report_sources import sources_of
from shoestring.runs.session import begin, finished_result
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
    requested.reserve_end(data)
    plans: list[Resolved] = []
    with requested.open_folder(data.train, plan=lambda: plans.append(make_plan(requested, data))):
        if "result" in folder.run:  # another process has finished the run in the meantime
            return folder.run["result"]
        resolved = plans[0] if plans else make_plan(requested, data)
        run, planned_data = replace(requested, recipe=resolved.recipe), resolved.data
        run.record(surroundings=environment(context))
        record_plan(run, resolved)
        images = planned_data.train
        subset = steps.select(run, images, resolved.proxy)
        if subset is not None:
            images = images[subset]
        steps.find_leaked_images(run, images, planned_data)
        trained = steps.train(run, images, planned_data.validation, resolved)
        final = steps.prune(run, trained, images, planned_data.validation, resolved)
        result = steps.evaluate(run, final, planned_data, images, subset)
        sources = sources_of(planned_data, images, subset, final)
        if not recipe.baseline:  # otherwise the report also has the results of the baseline
            write_in_budget(run, result, sources)
        add_lateness(run, result)
    if recipe.baseline:
        train = run.recipe.train
        if train.weights is None:
            train = replace(train, weights="none")  # so that the network is not chosen again
        same = replace(recipe, train=train)  # the same network and test-time augmentation, and images of the same size
        if planned_data.train.shape[0] != data.train.shape[0]:
            same = replace(same, resolution=planned_data.train.shape[0])
        result["baseline"] = _baseline(same, subset, len(images), folder, context)
        result["baseline"] |= paired_values(folder, RunDir(folder / "baseline"), result)
        result["warnings"] += [f"with random images, {warning}" for warning in result["baseline"]["warnings"]]
        write_in_budget(run, result, sources, limited=False)
    folder.check_exists()
    write_report(folder.path, result)
    return steps.finish(run, result)


def select_only(recipe: Recipe, folder: RunDir, *, context: Context, started: float | None = None) -> dict[str, Any]:
    """Run only the selection; return its results as plain values, including the path of the subset file."""
    if result := finished_result(recipe, folder, context=context, only="select"):
        return result
    run = begin(recipe, folder, context=context, started=started, only="select")
    data = None if recipe.unlabeled else run.load()
    images = run.load_unlabeled() if data is None else data.train
    run.reserve_exit()
    everything, plans = data or Dataset.of(images), list[Resolved]()
    with run.open_folder(images, plan=lambda: plans.append(make_plan(run, everything))):
        resolved = plans[0] if plans else make_plan(run, everything)
        record_plan(run, resolved)
        run = replace(run, recipe=resolved.recipe)
        subset = steps.select(run, images, resolved.proxy)
        assert subset is not None
        result = steps.selection_result(run, images, subset, data)
        add_lateness(run, result)
    return steps.finish(run, result)


def export_selection(
    recipe: Recipe, folder: RunDir, *, context: Context, copy: Path | None, table: Path | None, overwrite: bool = False
) -> None:
    """Copy the images of a finished selection to a folder, and list them in a table, if paths are set."""
    run = begin(recipe, folder, context=replace(context, log=lambda text: None), started=None, only="select")
    images = run.load_unlabeled() if recipe.unlabeled else run.load().train
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
