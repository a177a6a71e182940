"""Arguments for loading the images of a recipe."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from shoestring.config.labels import LabelTable
from shoestring.config.recipe import Recipe
from shoestring.data import source_key
from shoestring.data.label_columns import as_labels
from shoestring.planning.pretrained import stored_resolution
from shoestring.selection.subset_files import never_held_out


def current_key(recipe: Recipe) -> str:
    """Return the key of the current data files."""
    return source_key(recipe.data, labels=as_labels(**label_arguments(recipe)), unlabeled=recipe.unlabeled)


def label_arguments(recipe: Recipe) -> dict[str, Any]:
    """Return the keyword arguments of `load` for the table of labels and its columns."""
    return {field.name: getattr(recipe, field.name) for field in fields(LabelTable)}


def read_arguments(recipe: Recipe) -> dict[str, Any]:
    """Return the keyword arguments that `load` and `load_unlabeled` have in common."""
    return {"resolution": stored_resolution(recipe), "skip_bad": recipe.skip_bad}


def load_arguments(recipe: Recipe) -> dict[str, Any]:
    """Return the keyword arguments of `load` for a recipe."""
    split = {"validation": recipe.validation, "split_seed": recipe.split_seed, "keep": never_held_out(recipe)}
    return {"source": recipe.data, **label_arguments(recipe), **read_arguments(recipe), **split}
