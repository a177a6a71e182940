"""Arguments for loading the images of a recipe."""

from __future__ import annotations

from typing import Any

from shoestring.config.recipe import Recipe
from shoestring.data import source_key
from shoestring.planning.pretrained import stored_resolution
from shoestring.selection.subset_files import never_held_out


def current_key(recipe: Recipe) -> str:
    """Return the key of the current data files."""
    return source_key(recipe.data, labels=not recipe.unlabeled)


def read_arguments(recipe: Recipe) -> dict[str, Any]:
    """Return the keyword arguments that `load` and `load_unlabeled` have in common."""
    return {"resolution": stored_resolution(recipe), "skip_bad": recipe.skip_bad}


def load_arguments(recipe: Recipe) -> dict[str, Any]:
    """Return the keyword arguments of `load` for a recipe."""
    split = {"validation": recipe.validation, "split_seed": recipe.split_seed, "keep": never_held_out(recipe)}
    return {"source": recipe.data, **read_arguments(recipe), **split}
