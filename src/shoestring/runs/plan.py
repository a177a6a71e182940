"""The plan of a run: made once, saved in run.json, and loaded from there when the run is resumed."""

from __future__ import annotations

from pathlib import Path

from shoestring.config.plan import Plan, run_plan, to_dict, without_trainings
from shoestring.data import Dataset
from shoestring.planning.resolve import Resolved, resolve
from shoestring.pruning import check_has_effect
from shoestring.runs.directory import RunDir
from shoestring.runs.extend import extends, is_trained
from shoestring.runs.models import final_model
from shoestring.runs.session import Run
from shoestring.selection.select import check_size
from shoestring.selection.subset_files import load_subset


def make_plan(run: Run, data: Dataset, *, stored: Plan | None = None) -> Resolved:
    """Plan the run; if it is resumed, as in the stored plan (None: that in the run folder)."""
    recipe, folder, context = run.recipe, run.folder, run.step_context("train")
    steps = [name for name in run.budget.weights if name != "select" or not (folder / "select/subset.json").exists()]
    model = None if recipe.start is None else final_model(Path(recipe.start))
    stored = stored or stored_plan(folder)
    if model is not None and stored is None:
        check_has_effect(model, recipe.prune.targets)
    if stored is not None and run.only is None and extends(recipe, folder) and is_trained(folder):
        stored = without_trainings(stored)
    select = recipe.select
    if "select" in steps and select.examples is not None and select.subset is None:
        already = None if select.already is None else load_subset(select.already, data.train)
        check_size(data.train, select.examples, balance=select.balance, already=already)
    return resolve(recipe, data, run.budget, context, steps=steps, model=model, stored=stored)


def stored_plan(folder: RunDir) -> Plan | None:
    """Return the plan in run.json, or None without one. Raises `UserError` if it is corrupted."""
    content = folder.run
    if "plan" in content:
        return run_plan(content["plan"])
    if "views" in content:  # written by an earlier version
        tta: str = content["views"]
        return Plan(content.get("side") or 0, "none" if tta == "one" else tta)
    return None


def record_plan(run: Run, resolved: Resolved) -> None:
    """Write the plan to run.json."""
    run.record(plan=to_dict(resolved.plan))
