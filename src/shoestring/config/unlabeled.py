"""Whether the settings about images without labels have any."""

from __future__ import annotations

from shoestring.config.recipe import Recipe
from shoestring.errors import UserError


def check_unlabeled(recipe: Recipe, *, given: bool = False) -> None:
    """Raise `UserError` for settings about images without labels if there are none: neither `given` nor unselected."""
    given = given or recipe.unlabeled_images is not None
    selects = recipe.select.examples is not None or recipe.select.subset is not None
    if recipe.train.use_unlabeled and not (selects or given):
        raise UserError(
            "--use-unlabeled trains on images that are not selected, or have no labels: set --examples N, or name such "
            "images with --unlabeled-images."
        )
    for name in ("unlabeled_confidence", "unlabeled_images"):
        owner = recipe if name == "unlabeled_images" else recipe.train
        if getattr(owner, name) is not None and not recipe.train.use_unlabeled:
            raise UserError(f"--{name.replace('_', '-')} has no effect without --use-unlabeled: add it, or omit both.")
