"""The plan of a run without the run: what the time goes into, which network would be trained, and how."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from shoestring.config.recipe import Grow, Recipe
from shoestring.data import Images
from shoestring.errors import UserError
from shoestring.planning.plan import plan_train
from shoestring.runs.directory import RunDir
from shoestring.runs.extend import extends
from shoestring.runs.preflight import check_budget, settle, trains_proxy
from shoestring.runs.session import Run, begin, of_whole
from shoestring.runs.validate import check, check_place
from shoestring.runtime.context import Context
from shoestring.selection.subset_files import load_subset


def preview(recipe: Recipe, folder: RunDir, *, context: Context, started: float | None = None) -> dict[str, Any]:
    """What `pipeline.run` would do, as plain values: `budget` by step, and the `training` as `outlook.Outlook` has it.

    Images are loaded, and steps timed as before a training; nothing is trained, and nothing written. Raises what a run
    would raise before its first step.
    """
    check(recipe)
    check_place(recipe, folder.path)
    folder.check_free()
    if recipe.start is not None:
        raise UserError("a plan is one of a training, and this recipe starts from a finished run.")
    longer = extends(recipe, folder)
    if "result" in folder.run and not longer:
        folder = RunDir(folder / "plan")  # what a finished run has spent does not count in a plan for another one
    this = begin(recipe, folder, context=context, started=started)
    shown = of_whole(context.on_progress, this.budget)  # and nothing goes into the history
    this = replace(this, context=replace(this.context, on_progress=shown))
    data = this.load()
    this.context.log("measuring speed")
    this, data = settle(this, data)
    check_budget(this, data.train)
    images, budget = _trained_on(this, data.train), this.budget
    shares = _shares(this, data.train)
    spent, left = budget.spent, budget.remaining
    window, recipe = budget.window("train", share=shares["train"]), this.recipe
    around = {"window": window, "context": this.step("train"), "later": recipe.prune}
    found = plan_train(images, recipe.train, Grow("constant") if longer else recipe.grow, **around)
    divided = {step: share * left for step, share in shares.items()}
    return {
        "budget": {"unit": budget.unit, "total": budget.total, "spent": spent, **divided, "kept": budget.reserved},
        "examples": len(images),
        "training": {**asdict(found), "passes": found.passes},
    }


def _trained_on(this: Run, images: Images) -> Images:
    """As many images as will be trained on; which ones is not known before they are chosen, and does not count here."""
    wanted = this.recipe.select
    if wanted.subset is not None:
        return images[load_subset(wanted.subset, images)]
    return images[np.arange(min(wanted.examples or len(images), len(images)))]


def _shares(this: Run, images: Images) -> dict[str, float]:
    """How what is left is divided between the steps; choosing takes next to nothing where it trains no proxy."""
    weights = dict(this.budget.weights)
    if "select" in weights and not trains_proxy(this, images):
        weights["select"] = 0.0
    return {step: weight / sum(weights.values()) for step, weight in weights.items()}
