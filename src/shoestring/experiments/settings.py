"""The recipe of each run of an experiment, and checks of what is varied before anything starts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

from shoestring.budget import DEFAULT_EPOCHS
from shoestring.config.fold import Fold
from shoestring.config.layers import merge
from shoestring.config.recipe import SECTIONS, Recipe, SweepRecipe
from shoestring.config.serialize import as_dict
from shoestring.config.units import Duration, Flops
from shoestring.errors import UserError, quoted
from shoestring.runs.validate import check
from shoestring.suggestions import nearest

UNSET = "default"  # value that leaves a setting unset
MAX_GRID = 10_000  # combinations
_MAX_CHECKED = 200  # combinations of a grid that are all checked, which takes milliseconds each
_LAYER = "--over"
_SECTIONS = {name: cls for name, cls in SECTIONS.items() if name not in ("tickets", "sweep")}  # of one run
# settings that say which images accuracies are measured on, or that an experiment sets itself
_SAME_IMAGES = ("data", "labels", "path_column", "label_column", "split_column", "group_column", "validation")
_SAME_IMAGES += ("split_seed", "group", "fold", "keep", "skip_bad", "evaluate", "unlabeled", "start")


@dataclass(frozen=True)
class Trial:
    """One run: the number of its combination of settings, its round of successive halving, and its seed or fold."""

    setting: int
    rung: int = 0
    seed: int = 0  # added to that of the recipe
    fold: Fold | None = None

    @property
    def name(self) -> str:
        """Name of its run folder."""
        repeat = f"seed-{self.seed}" if self.fold is None else f"fold-{self.fold.number}"
        rung = f"-round-{self.rung + 1}" if self.rung else ""
        return f"{self.setting + 1:03}-{repeat}{rung}"


_FIRST = Trial(0)


def grid(recipe: SweepRecipe) -> Iterator[dict[str, Any]]:
    """Yield all combinations of the values that are varied; one empty combination if none are."""
    axes = recipe.sweep.axes
    for values in product(*(axis.values for axis in axes)):
        yield {axis.name: value for axis, value in zip(axes, values)}


def name_of(values: Mapping[str, Any]) -> str:
    """Name a combination of settings: "learning_rate=0.1 method=d2"."""
    last = [name.rpartition(".")[2] for name in values]
    names = [field if last.count(field) == 1 else name for name, field in zip(values, last)]
    return " ".join(f"{name}={value}" for name, value in zip(names, values.values()))


def trial_recipe(recipe: SweepRecipe, values: Mapping[str, Any], trial: Trial = _FIRST, *, part: float = 1.0) -> Recipe:
    """Return the recipe of a run without a time: a budget in epochs or FLOPs is the given `part` of the recipe's.

    Raises `UserError` for an unknown setting, or a value that it refuses.
    """
    content = as_dict(recipe)
    del content["sweep"]
    content.pop("time", None)
    for name, value in values.items():
        section, dot, field = name.partition(".")
        target = content.setdefault(section, {}) if dot and section in SECTIONS else content
        field = field if target is not content else name
        if value == UNSET:
            target.pop(field, None)
        else:
            target[field] = value
    merged, _ = merge((_LAYER, content))
    if recipe.time is None or merged.epochs or merged.flops:
        if merged.flops is not None:
            merged = replace(merged, flops=Flops(f"{part * merged.flops:.6g}"))
        else:
            merged = replace(merged, epochs=float(f"{part * (merged.epochs or DEFAULT_EPOCHS):.6g}"))
    evaluate = "validation" if recipe.sweep.over else recipe.evaluate
    one = replace(merged, seed=recipe.seed + trial.seed, fold=trial.fold or merged.fold, evaluate=evaluate)
    return replace(one, report=False if one.report is None else one.report)  # drawing takes seconds


def with_time(recipe: Recipe, seconds: float | None) -> Recipe:
    """Return the recipe with a time budget; unchanged for None."""
    return recipe if seconds is None else replace(recipe, time=Duration(f"{math.floor(100 * seconds) / 100:g}s"))


def check_experiment(recipe: SweepRecipe) -> None:
    """Raise `UserError` for an experiment that cannot run: what is varied, its values, and their combinations."""
    sweep = recipe.sweep
    if recipe.epochs is not None and recipe.flops is not None:
        raise UserError("set one budget for each run, not --epochs and --flops.")
    if recipe.baseline:
        raise UserError(
            "--baseline is for one run: compare methods by shoestring sweep --over select.method=random,d2."
        )
    if sweep.over and recipe.evaluate == "test":
        raise UserError(
            "settings are compared on validation images, and the best ones are tested once, at the end: omit "
            "--evaluate."
        )
    if sweep.folds and (recipe.fold or (recipe.evaluate == "validation" and not sweep.over)):
        raise UserError("--folds holds out each fold in turn: omit --fold and --evaluate.")
    for axis in sweep.axes:
        _check_axis(recipe, axis.name)
        for value in axis.examples:
            _checked(recipe, {axis.name: value}, complete=False)
    if sweep.search == "grid" and math.prod(len(axis.values) for axis in sweep.axes) > MAX_GRID:
        raise UserError(f"the grid has more than {MAX_GRID:,} combinations: use --search random or tpe, with --trials.")
    for values in _examples(recipe):
        _checked(recipe, values, complete=True)


def _examples(recipe: SweepRecipe) -> Iterator[dict[str, Any]]:
    """Yield the combinations to check: a small grid, else each value with the first values of the other settings."""
    axes = recipe.sweep.axes
    if recipe.sweep.search == "grid" and math.prod(len(axis.values) for axis in axes) <= _MAX_CHECKED:
        yield from grid(recipe)
        return
    first = {axis.name: axis.examples[0] for axis in axes}
    yield first
    for axis in axes:
        yield from ({**first, axis.name: value} for value in axis.examples[1:])


def _check_axis(recipe: SweepRecipe, name: str) -> None:
    if name == "seed":
        raise UserError("--over seed: give the number of seeds by --seeds.")
    if name == "time":
        raise UserError("--over time: the time is that of all runs together; vary epochs, or use --halving.")
    if name in _SAME_IMAGES:
        raise UserError(f"--over {name}: settings are compared on the same images, so this one cannot be varied.")
    if name in ("sweep", "baseline") or name.partition(".")[0] in ("sweep", "tickets"):
        raise UserError(f"--over {name} is not a setting of one run.")
    if name in _SECTIONS:
        own = [field.name for field in fields(_SECTIONS[name])]
        example = "method" if "method" in own else own[0]
        raise UserError(f"--over {name} is a section of settings: name one of them, such as {name}.{example}.")
    if name not in {field.name for field in fields(Recipe)} and name.partition(".")[0] not in _SECTIONS:
        raise _unknown(name)
    if name in ("epochs", "flops") and recipe.sweep.halving:
        raise UserError(f"--over {name}: --halving sets the budget of each run. Omit one of them.")


def _unknown(name: str) -> UserError:
    """Return the error for a setting that is neither in the recipe nor in a section, with the one probably meant."""
    section, _, field = name.rpartition(".")
    inner = {f"{key}.{one.name}": one.name for key, cls in _SECTIONS.items() for one in fields(cls)}
    outer = [one.name for one in fields(Recipe) if one.name not in SECTIONS]
    near = nearest(name, (*outer, *inner) if section else outer)
    if near is None and (meant := nearest(field, inner.values())) is not None:
        near = " or ".join(full for full, own in inner.items() if own == meant.partition(" ")[0])
    guess = f"Did you mean {near}?" if near else "Write a field of the recipe, such as epochs or train.width."
    return UserError(f"unknown setting in --over {quoted(name)}. {guess}")


def _checked(recipe: SweepRecipe, values: Mapping[str, Any], *, complete: bool) -> None:
    """Raise `UserError` if the settings are refused; if `complete`, also for what does not go together."""
    folds = recipe.sweep.folds
    one = trial_recipe(recipe, values, Trial(0, fold=Fold(1, folds) if folds else None))
    if not complete:
        return
    try:
        check(one)
    except UserError as error:
        raise UserError(f"{name_of(values)}: {error.args[0]}" if values else error.args[0]) from None
