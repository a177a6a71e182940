"""The plan of a run: made once, saved in run.json, and loaded from there when the run is resumed."""

from __future__ import annotations

from pathlib import Path

from shoestring.config.plan import Plan, run_plan, to_dict
from shoestring.data import Dataset
from shoestring.planning.resolve import Resolved, resolve
from shoestring.runs.directory import RunDir
from shoestring.runs.models import final_model
from shoestring.runs.session import Run


def make_plan(run: Run, data: Dataset) -> Resolved:
    """Plan the run, or take its plan from the run folder if it is resumed."""
    recipe, folder, context = run.recipe, run.folder, run.step_context("train")
    steps = [name for name in run.budget.weights if name != "select" or not (folder / "select/subset.json").exists()]
    model = None if recipe.start is None else final_model(Path(recipe.start))
    return resolve(recipe, data, run.budget, context, steps=steps, model=model, stored=stored_plan(folder))


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
