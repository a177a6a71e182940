"""Extend a finished run of the schedule "anytime" with a larger budget."""

from __future__ import annotations

import shutil
from functools import partial

from shoestring.budget import DEFAULT_EPOCHS
from shoestring.config.layers import merge
from shoestring.config.model_files import model_folder
from shoestring.config.plan import run_plan, to_dict, without_trainings
from shoestring.config.recipe import Recipe
from shoestring.config.serialize import as_dict, without_budget
from shoestring.errors import UserError
from shoestring.models.model import Model
from shoestring.runs.directory import RunDir
from shoestring.training.snapshots import Snapshots, remove


def extends(recipe: Recipe, folder: RunDir) -> bool:
    """Whether the folder holds a run of this recipe with a smaller budget.

    Raises `UserError` if its budget was larger.
    """
    previous = folder.run.get("recipe")
    if previous is None or not recipe.extendable or without_budget(previous) != without_budget(as_dict(recipe)):
        return False
    default = {"epochs": DEFAULT_EPOCHS}
    ((old_unit, old),) = (merge((str(folder.path), previous))[0].budget or default).items()
    ((unit, total),) = (recipe.budget or default).items()
    if unit != old_unit:
        return False
    if total < old:
        raise UserError(
            f"{folder.path} already had a larger budget: a run can be extended, not shortened. Choose another --out."
        )
    return total > old


def is_trained(folder: RunDir) -> bool:
    """Whether the training of the run is finished."""
    return "result" in folder.run or (folder / "train" / "model.json").exists()


def reopen(folder: RunDir) -> None:
    """Reset a trained run to an interrupted one; its model becomes a snapshot.

    Call it once the longer run is planned, which reads the checkpoint: nothing is changed if that is corrupted. The
    order of the operations ensures that after a kill at any moment there is a model, and the same command resumes the
    run.
    """
    final = model_folder(folder.path)
    if final is not None:
        remove(folder / "train")
        Snapshots(folder / "train", 0.0).save(partial(Model.load, final))
    for name in ("prune", "evaluate", "report"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("model.json", "model.safetensors"):
        (folder / "train" / name).unlink(missing_ok=True)
    plan = folder.run.get("plan")
    if plan is not None:  # the network and the size of the images stay
        folder.update(plan=to_dict(without_trainings(run_plan(plan))))
    folder.remove_values("result", "training", "before_pruning", "pruning_latencies", "latency_search", "recovery")
