"""Arguments for loading the images of a recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from shoestring.config.labels import LABEL_FIELDS
from shoestring.config.recipe import Recipe
from shoestring.data import Dataset, source_key
from shoestring.data.build import PHOTO_SIDE, AtMost, Resolution
from shoestring.data.label_columns import as_labels
from shoestring.errors import UserError
from shoestring.planning.pretrained import is_pretrained, stored_resolution, with_weights
from shoestring.runs.directory import RunDir
from shoestring.selection.subset_files import never_held_out


def current_key(recipe: Recipe) -> str:
    """Return the key of the current data files."""
    key = source_key(recipe.data, labels=as_labels(**label_arguments(recipe)), unlabeled=recipe.unlabeled)
    more = recipe.unlabeled_images
    return key if more is None else f"{key} {source_key(more, unlabeled=True)}"


def label_arguments(recipe: Recipe) -> dict[str, Any]:
    """Return the keyword arguments of `load` for the table of labels and its columns."""
    return {name: getattr(recipe, name) for name in LABEL_FIELDS}


def read_arguments(recipe: Recipe, folder: RunDir, *, only: str | None = None) -> dict[str, Any]:
    """Return the keyword arguments that `load` and `load_unlabeled` have in common, for a run or `only` one step."""
    return {"resolution": _resolution(recipe, folder, only), "fit": recipe.fit, "skip_bad": recipe.skip_bad}


def load_arguments(recipe: Recipe, folder: RunDir, *, only: str | None = None) -> dict[str, Any]:
    """Return the keyword arguments of `load` for a recipe."""
    split = {name: getattr(recipe, name) for name in ("validation", "split_seed", "group", "fold")}
    split |= {"keep": never_held_out(recipe), "fold_split": recipe.evaluate or "test"}
    own = read_arguments(recipe, folder, only=only)
    return {"source": recipe.data, **label_arguments(recipe), **own, **split}


def evaluated(recipe: Recipe, data: Dataset) -> Dataset:
    """Return the data set with the split that the recipe evaluates on as its test split.

    Raises `UserError` if there are no such images.
    """
    if recipe.evaluate != "validation":
        return data
    if not len(data.validation):
        raise UserError("there are no validation images to evaluate on: set --validation, or omit --evaluate.")
    return replace(data, test=data.validation)


def _resolution(recipe: Recipe, folder: RunDir, only: str | None) -> Resolution:
    """The resolution at which images are stored: as requested, or that of the run in the folder or of its start."""
    if recipe.resolution is not None:
        return recipe.resolution
    for run in (folder, *([RunDir(Path(recipe.start))] if recipe.start else [])):
        recorded = run.run.get("data")
        if recorded is not None and "side" in recorded:
            return recorded["side"]
        if recorded is not None:  # of an earlier version
            return AtMost(PHOTO_SIDE) if is_pretrained(with_weights(recipe.train)) else None
    return None if only == "select" else stored_resolution(recipe)
