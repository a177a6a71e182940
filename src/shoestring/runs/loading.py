"""Arguments for loading the images of a recipe."""

from __future__ import annotations

from typing import Any

from shoestring.config.recipe import Recipe
from shoestring.data import source_key
from shoestring.data.build import AtMost
from shoestring.planning.pretrained import MAX_STORED_SIDE, is_open, is_pretrained, with_weights
from shoestring.selection.subset_files import never_held_out


def current_key(recipe: Recipe) -> str:
    """Return the key of the current data files."""
    return source_key(recipe.data, labels=not recipe.unlabeled)


def read_arguments(recipe: Recipe) -> dict[str, Any]:
    """Return the keyword arguments that `load` and `load_unlabeled` have in common."""
    large = is_open(recipe) or is_pretrained(with_weights(recipe.train))
    limit = AtMost(MAX_STORED_SIDE) if large else None
    return {"resolution": recipe.resolution or limit, "skip_bad": recipe.skip_bad}


def load_arguments(recipe: Recipe) -> dict[str, Any]:
    """Return the keyword arguments of `load` for a recipe."""
    split = {"validation": recipe.validation, "split_seed": recipe.split_seed, "keep": never_held_out(recipe)}
    return {"source": recipe.data, **read_arguments(recipe), **split}
