"""Preview of a run: how its budget is divided, which network it would train, and how."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from shoestring.budget import Budget
from shoestring.config.plan import to_dict
from shoestring.config.recipe import Recipe
from shoestring.errors import UserError
from shoestring.planning.preview import preview_training
from shoestring.planning.resolve import Resolved
from shoestring.runs.directory import RunDir
from shoestring.runs.extend import extends
from shoestring.runs.plan import make_plan, stored_plan
from shoestring.runs.progress import with_run_fraction
from shoestring.runs.session import begin
from shoestring.runs.validate import check, check_run_folder
from shoestring.runtime.context import Context
from shoestring.training.checkpoint import Fresh
from shoestring.training.setup import prepare


def preview(recipe: Recipe, folder: RunDir, *, context: Context, started: float | None = None) -> dict[str, Any]:
    """Return what `pipeline.run` would do: the `budget` by step, the `training` (a `TrainingPreview`) and the `plan`.

    Images are loaded and training steps are timed; nothing is trained or written. Raises the errors that a run would
    raise before training.
    """
    check(recipe)
    check_run_folder(recipe, folder.path)
    folder.check_usable()
    if recipe.start is not None:
        raise UserError(
            "--plan shows how a network is trained, and this recipe starts from a finished run: omit --plan."
        )
    stored = None
    if folder.run and not extends(recipe, folder):  # the plan of the whole run, also if a part of it is done
        stored, folder = stored_plan(folder), RunDir(folder / "plan")
    run = begin(recipe, folder, context=context, started=started)
    on_progress = with_run_fraction(context.on_progress, run.budget)  # without the history
    run = replace(run, context=replace(run.context, on_progress=on_progress))
    data = run.load()
    run.reserve_end(data)
    resolved = make_plan(run, data, stored=stored)
    budget, planned = run.budget, resolved.training
    assert planned is not None
    fractions = _fractions(resolved, budget)
    spent, remaining = budget.spent, budget.remaining
    images = resolved.data.train[np.arange(resolved.examples)]
    window = budget.window("train", fraction=fractions["train"])
    training = preview_training(prepare(planned.model, images, window, planned.train, run.context, Fresh()), window)
    by_step = {step: fraction * remaining for step, fraction in fractions.items()}
    return {
        "budget": {"unit": budget.unit, "total": budget.total, "spent": spent, **by_step, "reserved": budget.reserved},
        "examples": len(images),
        "training": {**asdict(training), "epochs": training.epochs},
        "plan": to_dict(resolved.plan),
    }


def _fractions(resolved: Resolved, budget: Budget) -> dict[str, float]:
    """Fractions of the remaining budget of the steps; selection only takes one for a proxy without epochs."""
    weights = dict(budget.weights)
    if "select" in weights and (resolved.proxy is None or resolved.recipe.select.proxy_epochs is not None):
        weights["select"] = 0.0
    return {step: weight / sum(weights.values()) for step, weight in weights.items()}
