"""What can be refused before anything starts is refused here: names, options, budgets, targets, files."""

from __future__ import annotations

from pathlib import Path

from shoestring import registry
from shoestring.budget import Budget, quantity
from shoestring.errors import UserError
from shoestring.recipe import Recipe


def check(recipe: Recipe) -> None:
    """Raise `UserError` for what no data could make work."""
    budgets = {"--time": recipe.time, "--epochs": recipe.epochs, "--flops": recipe.flops}
    given = [flag for flag, value in budgets.items() if value is not None]
    if len(given) > 1:
        raise UserError(f"give one budget, not {' and '.join(given)}.")
    if given:
        Budget(recipe.time, epochs=recipe.epochs, flops=recipe.flops)
    _names(recipe)
    if recipe.select.within is not None:
        from shoestring.select.within import parse

        parse(recipe.select.within)
    for flag, target in (("macs", recipe.prune.macs), ("params", recipe.prune.params)):
        if target is not None:
            quantity(target, what=f"size for --{flag}")
    if recipe.select.subset is not None:
        if not Path(recipe.select.subset).is_file():
            raise UserError(f"no subset file {recipe.select.subset}.")
        if recipe.select.examples is not None:
            raise UserError("--subset says which images to use; leave out --examples.")
    chooses = recipe.select.method != "auto" or recipe.select.options or recipe.select.within or recipe.select.signals
    if recipe.select.examples is None and chooses:
        raise UserError("a selection method chooses images: say how many with --examples.")
    if recipe.prune.options and not recipe.prune.wanted:
        raise UserError("pruning has options, but no size to cut to: say --macs or --params.")
    if recipe.baseline and recipe.select.examples is None and recipe.select.subset is None:
        raise UserError("--baseline compares chosen images with random ones: say how many with --examples.")


def _names(recipe: Recipe) -> None:
    if recipe.select.method != "auto":
        registry.bind("select", recipe.select.method, recipe.select.options)
    if recipe.grow.method != "auto":
        registry.bind("grow", recipe.grow.method, recipe.grow.options)
    registry.bind("prune", recipe.prune.method, recipe.prune.options)
    if recipe.train.model.startswith("timm:"):
        from shoestring.models.timm import PREFIX, check_name

        check_name(recipe.train.model.removeprefix(PREFIX))
    elif recipe.train.model != "auto":
        registry.find("models", recipe.train.model)
