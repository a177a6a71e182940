"""Checks of a recipe before a run starts: names, options, budgets, paths."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from shoestring.config import paths, registry
from shoestring.config.fit import EARLIER_FIT
from shoestring.config.layers import merge
from shoestring.config.recipe import Prune, Recipe, Select
from shoestring.config.unlabeled import check_unlabeled
from shoestring.errors import UserError, unknown
from shoestring.growth.compose import compose
from shoestring.runs.directory import RunDir


def check(recipe: Recipe, *, pruned: bool = False) -> None:
    """Raise `UserError` for a recipe that is invalid whatever the data; `pruned` if it prunes without a target."""
    if len(recipe.budget) > 1:
        raise UserError(f"set one budget, not {' and '.join(f'--{name}' for name in recipe.budget)}.")
    _check_names(recipe)
    check_unlabeled(recipe)
    _check_selection(recipe.select)
    _check_subset_files(recipe)
    if recipe.keep is not None and (recipe.select.subset or recipe.select.already):
        raise UserError("the images of --subset and --already are never held out: omit --keep.")
    if recipe.unlabeled and recipe.labels is not None:
        raise UserError("--labels gives the labels of images, and with --unlabeled there are none: omit one of them.")
    if recipe.unlabeled and recipe.select.balance not in ("equal", "none"):
        raise UserError("--balance needs labels, and with --unlabeled there are none: omit --balance.")
    _check_splits(recipe)
    if not pruned and not recipe.prune.enabled and recipe.prune != Prune():
        raise UserError(
            "pruning settings have no effect without a target: set --macs, --params, --file-size, --latency or "
            "--keep-channels."
        )
    if recipe.baseline and recipe.select.examples is None and recipe.select.subset is None:
        raise UserError("--baseline compares the subset with random images: set its size with --examples.")


def read_recipe(folder: RunDir) -> Recipe | None:
    """Return the recipe of the run in a folder, or None without one. Raises `UserError` if it cannot be read."""
    content = folder.run.get("recipe")
    if content is None:
        return None
    try:
        settings = {name: value for name, value in content.items() if name != "only"}  # the step of a partial run
        settings.setdefault("fit", EARLIER_FIT)
        return merge((str(folder.path), settings))[0]
    except UserError as error:
        raise UserError(f"{folder.path} is a run{folder.version_note}, whose recipe cannot be read: {error}") from None


def check_run_folder(recipe: Recipe, out: Path) -> None:
    """Raise `UserError` for a run folder that overlaps the images, or is inside the run to start from."""
    check_separate(out, recipe.data)
    start, signals = recipe.start, recipe.select.signals
    if start is not None and paths.absolute(out) != Path(start) and paths.absolute(out).is_relative_to(start):
        raise UserError(f"{out} is inside the run to start from, {start}: choose another --out.")
    if signals is not None and not Path(signals).exists():
        check_separate(Path(signals), recipe.data, flag="--signals")


def check_separate(path: Path, data: str, *, flag: str = "--out") -> None:
    """Raise `UserError` if an output path is inside the data or contains it.

    `data` is a source as in `data.load`, `flag` the flag of the path.
    """
    images = paths.data_path(data)
    if images is not None and paths.overlap(path, images):
        raise UserError(
            f"{path} and the data, {images}, overlap: output files would be mixed with the images. Choose another "
            f"{flag}."
        )


def _check_splits(recipe: Recipe) -> None:
    select = recipe.select
    if recipe.group is not None and recipe.group_column is not None:
        raise UserError("--group and --group-column both define which images belong together: omit one of them.")
    if recipe.unlabeled and (recipe.group or recipe.fold):
        name = "group" if recipe.group else "fold"
        raise UserError(f"nothing is held out of images without labels: omit --{name}.")
    if recipe.fold is not None and recipe.start is None and (recipe.keep or select.subset or select.already):
        raise UserError("each image is held out in one of the folds: omit --keep, --subset and --already.")


def _check_selection(settings: Select) -> None:
    features = settings.features
    if features is not None and paths.timm_network(features) is None and not Path(features).exists():
        raise UserError(f"no features in {features}: pass an .npy file, a model or run folder, or timm:NAME.")
    if settings.subset is not None and (settings.examples is not None or settings.already is not None):
        raise UserError("--subset names the images to use: omit --examples and --already.")
    if settings.examples is None and replace(settings, subset=None) != Select():
        raise UserError("selection settings have no effect without --examples: set --examples N.")


def _check_subset_files(recipe: Recipe) -> None:
    files = [name for name in (recipe.keep, recipe.select.subset, recipe.select.already) if name is not None]
    if files:
        from shoestring.selection.subset import subset_file

        for name in files:
            if not subset_file(name).is_file():
                raise UserError(f"no subset file {name}: pass a subset.json, a run folder, or a list of indices.")


def _option_of_auto(name: str) -> UserError:
    """Return the error for an option of a selection method, or an unknown setting, beside the method "auto"."""
    options = {option for method in registry.names("select") for option in registry.options("select", method)}
    if name in options:
        return UserError(f"'{name}' is an option of a selection method: name the method as well, instead of auto.")
    return unknown("setting of select", name, {field.name for field in fields(Select)} | options)


def _check_names(recipe: Recipe) -> None:
    """Raise `UserError` for unknown methods, options and networks."""
    if recipe.select.method == "auto" and recipe.select.options:
        raise _option_of_auto(next(iter(recipe.select.options)))
    if recipe.select.method != "auto":
        registry.bind("select", recipe.select.method, recipe.select.options)
    if not recipe.grow.is_auto:
        compose(recipe.grow.stages or recipe.grow.method, recipe.grow.options)
    if recipe.prune.method != "auto":
        registry.bind("prune", recipe.prune.method, recipe.prune.options)
    _check_network(recipe.train.model)
    _check_network(recipe.select.proxy)


def _check_network(name: str) -> None:
    if name.startswith(paths.TIMM):
        from shoestring.models.timm import check_name

        check_name(name.removeprefix(paths.TIMM))
    elif name != "auto":
        registry.find("models", name)
