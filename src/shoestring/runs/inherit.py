"""Settings that a command inherits from a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shoestring.config.paths import expanded
from shoestring.config.recipe import IMAGES
from shoestring.config.serialize import as_dict
from shoestring.errors import UserError
from shoestring.runs.directory import RunDir
from shoestring.runs.validate import read_recipe


def inherited_settings(run: str) -> dict[str, Any]:
    """Return the settings of a recipe that are inherited from a run: its data, its subset, and how it was trained.

    Raises `UserError` for a folder that is not a run, or holds only a selection.
    """
    folder = RunDir(Path(run))
    recipe = read_recipe(folder)
    if recipe is None:
        raise UserError(f"{run} is not a run directory (it has no run.json with a recipe).")
    if folder.run["recipe"].get("only") == "select":
        raise UserError(f"{run} is a selection and trained no network: pass the folder of a training.")
    before = as_dict(recipe)
    settings = {name: before[name] for name in ("data", *IMAGES) if name in before}
    if recipe.fold is not None and recipe.evaluate is not None:  # which split the fold is
        settings["evaluate"] = recipe.evaluate
    file = expanded(run) / "select" / "subset.json"
    subset = str(file) if file.exists() else recipe.select.subset
    return {**settings, "train": before["train"], "select": {"subset": subset} if subset else {}}


def planned_settings(run: str) -> dict[str, Any]:
    """Return the inherited settings of a run with the network that its plan chose, without early stopping.

    Raises `UserError` as `inherited_settings` does.
    """
    settings, plan = inherited_settings(run), RunDir(Path(run)).run.get("plan", {})
    train = dict(settings["train"])
    if plan.get("model"):
        train |= {"model": plan["model"], **plan.get("options", {})}
        if plan.get("weights"):
            train["weights"] = plan["weights"]
    train.pop("patience", None)
    return {**settings, "train": train}
