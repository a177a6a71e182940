"""Subsets and lists made before, as a recipe names them: which images they are, and which stay in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoestring.config.recipe import Recipe
from shoestring.data import Images
from shoestring.selection import Subset
from shoestring.selection.subset import file_of, listed


def given_subset(name: str | Path, images: Images) -> Subset:
    """The subset in a file of ours or a run folder, or the images of a plain list of places in the train split."""
    file = file_of(name)
    rows = listed(file)
    return Subset.load(file) if rows is None else Subset.of(images, rows)


def kept_file(recipe: Recipe) -> str | None:
    """The file that names images which are not to be held out: the one given, or the images chosen before."""
    return recipe.keep or recipe.select.subset or recipe.select.already


def never_held_out(recipe: Recipe) -> NDArray[np.int64] | None:
    """Places (K,) in the source's train split that stay in training; None where the usual images are held out."""
    name = kept_file(recipe)
    if name is None:
        return None
    file = file_of(name)
    rows = listed(file)
    if rows is None and (known := Subset.load(file).never_held_out) is not None:
        rows = np.array(known, dtype=np.int64)
    return rows
