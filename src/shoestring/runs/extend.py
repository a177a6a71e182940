"""A finished run whose learning rate can stay high goes on, when the same command comes with more to spend."""

from __future__ import annotations

import shutil
from functools import partial

from shoestring.budget import DEFAULT_EPOCHS
from shoestring.config.recipe import Recipe, as_dict, without_budget
from shoestring.config.resolve import resolve
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
    default = {"epochs": DEFAULT_EPOCHS}
    ((old_unit, old),) = (resolve((str(folder.path), before))[0].budget or default).items()
    ((unit, total),) = (recipe.budget or default).items()
    if unit != old_unit:
        return False
    if total < old:
        raise UserError(f"{folder.path} already had a larger budget: a run can be extended, not shortened.")
    return total > old


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
