"""`shoestring.sweep`: experiments from Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from shoestring.config.layers import CALL, merge
from shoestring.config.recipe import SweepRecipe
from shoestring.config.recipe_file import read
from shoestring.config.sweep import Sweep
from shoestring.errors import UserError
from shoestring.experiments.run import run

_RECIPES = (".yaml", ".yml", ".json")


def sweep(
    recipe: str | Path | Mapping[str, Any],
    *,
    out: str | Path,
    over: Mapping[str, Any] | None = None,
    log: Callable[[str], None] = lambda text: None,
    **settings: Any,
) -> dict[str, Any]:
    """Run a recipe several times, in processes, and return what the runs say as plain values.

    `recipe` is a recipe file, a nested mapping like one, or the images, as for `shoestring run`. `over` are settings to
    vary: {"train.learning_rate": [0.05, 0.1], "select.method": "random,d2"}, or ranges such as "0.01..0.3:log" for
    `search="random"` and "tpe". Without it, the recipe is repeated with several `seeds`, or in `folds`. `settings` are
    the fields of `recipe.Sweep` (search="random", trials=20, seeds=3, jobs=2) and of `recipe.Recipe` (time="10m",
    epochs=3, train={"model": "convnet"}). The runs, experiment.json and the report are written to the folder `out`; the
    same call resumes an interrupted experiment, and returns the results of a finished one. `log` is called with
    messages.

    Combinations are compared on validation images; the `chosen` one is tested once, at the end. `rows` are all
    combinations, best first, with the mean `accuracy` of their runs, its `interval`, and costs; `tests` paired tests,
    `effects` what mattered.

    Raises `UserError` for settings that do not exist or refuse a value, and if no run succeeds, and `BudgetTooSmall`.
    """
    own = {field.name for field in fields(Sweep)}
    experiment = {name: value for name, value in settings.items() if name in own}
    if over is not None:
        experiment["over"] = over
    rest = {name: value for name, value in settings.items() if name not in own}
    layers: list[tuple[str, Mapping[str, Any]]] = [("default", {"sweep": {}})]
    if isinstance(recipe, Mapping):
        layers.append((CALL, recipe))
    elif Path(recipe).suffix.lower() in _RECIPES:
        layers.append((str(recipe), read(recipe)))
    else:
        rest["data"] = str(recipe)
    merged, _ = merge(*layers, (CALL, {**rest, "sweep": experiment}))
    assert isinstance(merged, SweepRecipe)
    if merged.sweep.is_one_run:
        raise UserError("nothing is varied or repeated: set over, seeds or folds.")
    return run(merged, out, log=log)
