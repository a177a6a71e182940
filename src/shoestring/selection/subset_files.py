"""Subsets and lists named in a recipe: their images, and the images that must not be held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoestring.config.recipe import Recipe
from shoestring.data import Images
from shoestring.selection import Subset
from shoestring.selection.subset import read_index_list, subset_file


def load_subset(name: str | Path, images: Images) -> Subset:
    """Load the subset of a subset file or run folder, or the images that a plain list of train-split indices names."""
    file = subset_file(name)
    rows = read_index_list(file)
    return Subset.load(file) if rows is None else Subset.from_rows(images, rows)


def never_held_out_file(recipe: Recipe) -> str | None:
    """The file that names images which must not be held out: `keep`, or the subset selected before."""
    return recipe.keep or recipe.select.subset or recipe.select.already


def never_held_out(recipe: Recipe) -> NDArray[np.int64] | None:
    """Indices (K,) into the source's train split of images that stay in training; None for the default split."""
    name = never_held_out_file(recipe)
    if name is None:
        return None
    file = subset_file(name)
    rows = read_index_list(file)
    if rows is None and (saved := Subset.load(file).never_held_out) is not None:
        rows = np.array(saved, dtype=np.int64)
    return rows
