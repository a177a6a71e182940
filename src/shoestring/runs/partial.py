"""The report of a run that did not finish: what is known about it, and the network that it has so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from shoestring.budget import DEFAULT_EPOCHS
from shoestring.config.model_files import model_folder, newest_snapshot
from shoestring.config.recipe import Recipe
from shoestring.config.units import format_seconds
from shoestring.errors import UserError
from shoestring.evaluation.cost import measure_cost
from shoestring.evaluation.tasks import without_images
from shoestring.models.model import Model
from shoestring.reporting.html import run_page
from shoestring.reporting.pictures import Gallery
from shoestring.runs.directory import RunDir
from shoestring.runs.gallery import Sources, make_gallery
from shoestring.runs.models import usable_model
from shoestring.runs.report import PAGE
from shoestring.runs.report_data import collect
from shoestring.runs.report_sources import load_sources
from shoestring.runs.validate import read_recipe
from shoestring.runtime.files import write_text

_TIMING_SECONDS = 0.5
_BUDGETS = {"time": "seconds", "epochs": "epochs", "flops": "flops"}


def is_unfinished(folder: RunDir) -> bool:
    """Whether the folder holds a run without results that has a network, final or a snapshot of its training."""
    content = folder.run
    if not content or "result" in content or "tickets" in content["recipe"]:
        return False
    steps = ("train", "prune")
    return model_folder(folder.path) is not None or any(newest_snapshot(folder / step) is not None for step in steps)


def write_partial_page(
    folder: RunDir, *, log: Callable[[str], None], progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Write the page of a run that did not finish, and return what is known about the run as plain values.

    The network is not tested: the test images are for the final one. Raises `UserError` for corrupted files.
    """
    recipe = read_recipe(folder)
    if recipe is None:
        raise UserError(f"{folder.path} does not record its recipe, so there is nothing to report.")
    model = usable_model(folder.path, log)
    sources, missing = load_sources(folder, progress=progress, model=model)
    result = _known(folder, recipe, model, sources)
    state = _state(folder.path, result)
    run = collect(folder, result, Gallery.empty(), missing=missing, unfinished=state)
    if sources is not None:
        how: dict[str, Any] = {"left": lambda: math.inf, "seconds_per_pass": 0.0, "augment": run.augment}
        run = replace(run, gallery=make_gallery(sources, None, **how))
    write_text(folder / str(PAGE), run_page(run))
    return {**result, "unfinished": state}


def _known(folder: RunDir, recipe: Recipe, model: Model, sources: Sources | None) -> dict[str, Any]:
    """Return the results as in run.json, as far as they are known."""
    spent, ledger = folder.spent()
    budget = recipe.budget or {"epochs": DEFAULT_EPOCHS}
    ((kind, total),) = budget.items()
    costs = measure_cost(model, seconds=_TIMING_SECONDS)
    pruned = (folder / "prune" / "model.json").exists() or newest_snapshot(folder / "prune") is not None
    accuracies = [row["validation"] for row in folder.history() if isinstance(row.get("validation"), int | float)]
    pool = None if sources is None else len(sources.pool)
    chosen = None if sources is None or sources.chosen is None else len(sources.chosen)
    return {
        **{
            key: value for key, value in without_images(model.task, model.classes, "test").items() if key != "confusion"
        },
        "validation": accuracies[-1] if accuracies else None,
        **asdict(costs),
        "prediction": costs.of_prediction(1.0),
        "model": model.name,
        "options": model.options,
        "examples": pool if chosen is None else chosen,
        "training_pool": pool,
        "select": None if chosen is None else (folder.run.get("plan") or {}).get("select") or recipe.select.method,
        "before_pruning": folder.run.get("before_pruning") if pruned else None,
        "warnings": [],
        "budget": {"unit": _BUDGETS[kind], "total": float(total)},
        "seconds": spent,
        "ledger": dict(ledger),
        "out": str(folder.path),
    }


def _state(path: Path, result: Mapping[str, Any]) -> str:
    budget, spent = result["budget"], format_seconds(result["seconds"])
    whole = f" of {format_seconds(budget['total'])}" if budget["unit"] == "seconds" else ""
    return (
        f"this page shows {path.name} after {spent}{whole}. Its network is not final, and was not tested. The command "
        "that started the run resumes it, and writes the complete report."
    )
