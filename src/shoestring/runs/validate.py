"""What can be refused before anything starts is refused here: names, options, budgets, targets, files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from shoestring.budget import Budget
from shoestring.config import paths, registry
from shoestring.config.recipe import Recipe, Select
from shoestring.config.resolve import resolve
from shoestring.config.units import parse_size
from shoestring.errors import UserError
from shoestring.growth.compose import compose
from shoestring.runs.directory import RunDir


def check(recipe: Recipe) -> None:
    """Raise `UserError` for what no data could make work."""
    budgets = {"--time": recipe.time, "--epochs": recipe.epochs, "--flops": recipe.flops}
    given = [flag for flag, value in budgets.items() if value is not None]
    if len(given) > 1:
        raise UserError(f"give one budget, not {' and '.join(given)}.")
    if given:
        Budget(recipe.time, epochs=recipe.epochs, flops=recipe.flops)
    _names(recipe)
    for flag, target in (("macs", recipe.prune.macs), ("params", recipe.prune.params)):
        if target is not None:
            parse_size(target, what=f"--{flag}")
    _select(recipe.select)
    _subsets(recipe)
    if recipe.keep is not None and (recipe.select.subset or recipe.select.already):
        raise UserError("the images of --subset and --already stay in training as they are: leave out --keep.")
    if recipe.unlabelled and recipe.select.balance not in ("equal", "none"):
        raise UserError("--balance needs labels, and --unlabelled has none.")
    if recipe.prune.options and not recipe.prune.enabled:
        raise UserError("pruning has options, but no size to cut to: say --macs or --params.")
    if recipe.baseline and recipe.select.examples is None and recipe.select.subset is None:
        raise UserError("--baseline compares chosen images with random ones: say how many with --examples.")


def recorded(folder: RunDir) -> Recipe | None:
    """The recipe that the run in a folder is of, None where none is; `UserError` when this version cannot read it."""
    content = folder.run.get("recipe")
    if content is None:
        return None
    try:
        return resolve((str(folder.path), content))[0]
    except UserError as error:
        raise UserError(f"{folder.path} is a run{folder.maker}, whose recipe is not understood: {error}") from None


def check_place(recipe: Recipe, out: Path) -> None:
    """Raise `UserError` for a run folder that would spoil something else: the images, or the run to start from."""
    check_apart(out, recipe.data)
    start, signals = recipe.start, recipe.select.signals
    if start is not None and paths.absolute(out) != Path(start) and paths.absolute(out).is_relative_to(start):
        raise UserError(f"{out} lies in the run that is started from, {start}: choose an --out outside of it.")
    if signals is not None and not Path(signals).exists():
        check_apart(Path(signals), recipe.data, flag="--signals")


def check_apart(place: Path, data: str, *, flag: str = "--out") -> None:
    """Raise `UserError` when a place to write to lies in the data, which would take it for images, or has them in it.

    `data` is a source as `data.load` takes it, `flag` what the place was named by.
    """
    images = paths.data_path(data)
    if images is not None and paths.overlap(place, images):
        raise UserError(
            f"{place} must not be or lie in the data, {images}, nor hold them: what is written would mix with the "
            f"images. Choose another {flag}."
        )


def _select(wanted: Select) -> None:
    from shoestring.selection.balance import parse_balance
    from shoestring.selection.difficulty import parse_within

    if wanted.within is not None:
        parse_within(wanted.within)
    parse_balance(wanted.balance)
    if wanted.features is not None and not wanted.features.startswith("timm:") and not Path(wanted.features).exists():
        raise UserError(f"no features in {wanted.features}: give an .npy file, a model or run folder, or timm:NAME.")
    if wanted.subset is not None and (wanted.examples is not None or wanted.already is not None):
        raise UserError("--subset says which images to use; leave out --examples and --already.")
    if wanted.examples is None and replace(wanted, subset=None) != Select():
        raise UserError("how images are chosen is set, but not how many: say --examples N.")


def _subsets(recipe: Recipe) -> None:
    named = [name for name in (recipe.keep, recipe.select.subset, recipe.select.already) if name is not None]
    if named:
        from shoestring.selection.subset import subset_file

        for name in named:
            if not subset_file(name).is_file():
                raise UserError(f"no subset file {name}.")


def _names(recipe: Recipe) -> None:
    if recipe.select.method != "auto":
        registry.bind("select", recipe.select.method, recipe.select.options)
    compose(recipe.grow.method, recipe.grow.options, recipe.grow.stages)
    recipe.train.strengths()
    registry.bind("prune", recipe.prune.method, recipe.prune.options)
    if recipe.train.model.startswith("timm:"):
        from shoestring.models.timm import PREFIX, check_name

        check_name(recipe.train.model.removeprefix(PREFIX))
    elif recipe.train.model != "auto":
        registry.find("models", recipe.train.model)
