"""A finished run whose learning rate can stay high goes on, when the same command comes with more to spend."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from typing import Any

from shoestring.budget import DEFAULT_EPOCHS
from shoestring.config.recipe import BUDGETS, Recipe, as_dict, without_budget
from shoestring.config.units import parse_quantity, parse_seconds
from shoestring.errors import UserError
from shoestring.models.description import model_folder
from shoestring.models.model import Model
from shoestring.runs.directory import RunDir
from shoestring.training.checkpoint import Checkpoint
from shoestring.training.snapshots import Snapshots, remove


def extends(recipe: Recipe, folder: RunDir) -> bool:
    """Whether the folder holds a run of this recipe that had less to spend; `UserError` when it had more."""
    before = folder.run.get("recipe")
    if before is None or not recipe.extendable or without_budget(before) != without_budget(as_dict(recipe)):
        return False
    had, has = _amount(before), _amount(as_dict(recipe))
    if had[0] != has[0]:
        return False
    if has[1] < had[1]:
        raise UserError(f"{folder.path} had more to spend already: a run can be extended, not shortened.")
    return has[1] > had[1]


def _amount(content: Mapping[str, Any]) -> tuple[str, float]:
    """Unit and number of a budget."""
    unit = next((unit for unit in BUDGETS if content.get(unit) is not None), None)
    if unit is None:
        return "epochs", DEFAULT_EPOCHS
    return unit, parse_seconds(content[unit]) if unit == "time" else parse_quantity(content[unit])


def trained(folder: RunDir) -> bool:
    """Whether the run has a model that it would not train on by itself."""
    return "result" in folder.run or (folder / "train" / "model.json").exists()


def reopen(folder: RunDir) -> None:
    """Make an untrained run of a trained one: its model becomes the snapshot that the training goes on from.

    In this order, so that a kill at any moment leaves a model, and a run that the same command goes on with. Raises
    `UserError`, before anything is touched, when the state to go on from cannot be read.
    """
    Checkpoint(folder / "train").load()
    final = model_folder(folder.path)
    if final is not None:
        remove(folder / "train")
        Snapshots(folder / "train", 0.0).save(partial(Model.load, final))
    for name in ("prune", "evaluate", "report"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("model.json", "model.safetensors"):
        (folder / "train" / name).unlink(missing_ok=True)
    folder.forget("result", "plan", "training", "before_pruning", "recovery")
