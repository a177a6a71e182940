"""`shoestring sweep RECIPE --over SETTING=VALUES`: compare settings; also runs with several seeds or folds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shoestring.budget import process_started
from shoestring.cli.flags import Parser, add_output, add_recipe, collect_settings, join_values
from shoestring.cli.process import handle_signals
from shoestring.cli.progress import Progress
from shoestring.config.layers import merge
from shoestring.config.recipe import SweepRecipe
from shoestring.config.recipe_file import read
from shoestring.config.serialize import digest
from shoestring.config.sweep import parse_over
from shoestring.errors import UserError
from shoestring.escaping import printable

_RECIPES = (".yaml", ".yml", ".json")


def main(verb: str, words: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    from shoestring.cli.run import COMMAND_ARGUMENTS

    started, parser = process_started(), _parser(verb)
    known, unknown = parser.parse_known_args(join_values(parser, words))
    args = vars(known)
    command = {name: args.pop(name) for name in COMMAND_ARGUMENTS if name in args}
    settings = collect_settings(parser, verb, args, unknown)
    recipe, origin = _recipe(parser, command, settings)
    if recipe.sweep.is_one_run:
        raise UserError("nothing is varied: add --over SETTING=VALUES, such as --over train.learning_rate=0.05,0.1.")
    return run_experiment(recipe, origin, command, started)


def _parser(verb: str) -> Parser:
    parser = Parser(
        prog=f"shoestring {verb}",
        usage=f"shoestring {verb} RECIPE|DATA --over SETTING=VALUES [--over ...] [flags]",
        description="Run a recipe with different settings, and compare them on validation images; the best one is "
        "tested once, at the end.",
    )
    parser.add_argument(
        "data", metavar="RECIPE|DATA", nargs="?", help="recipe (.yaml or .json), or images, as for `shoestring run`"
    )
    add_recipe(parser, verb)
    add_output(parser)
    return parser


def _recipe(parser: Parser, command: dict[str, Any], settings: dict[str, Any]) -> tuple[SweepRecipe, Mapping[str, str]]:
    """Merge the recipe file and the flags."""
    layers: list[tuple[str, dict[str, Any]]] = [("default", {"sweep": {}})]
    source, flags = command.get("data"), dict(settings)
    if source is not None and Path(source).suffix.lower() in _RECIPES:
        if "recipe" in command:
            raise UserError("two recipes are given: omit the argument RECIPE, or --recipe.")
        command["recipe"] = source
    elif source is not None:
        flags["data"] = source
    if "recipe" in command:
        layers.append((command["recipe"], read(command["recipe"])))
    if "over" in flags.get("sweep", {}):
        flags["sweep"] = {**flags["sweep"], "over": parse_over(flags["sweep"]["over"])}
    layers.append(("flags", flags))
    if not any(content.get("data") for _, content in layers):
        raise UserError(f"the argument RECIPE or DATA is missing. (`{parser.prog} --help`)")
    recipe, origin = merge(*layers)
    assert isinstance(recipe, SweepRecipe)
    if recipe.unlabeled:
        raise UserError("networks are trained on labels: unlabeled images can only be selected (shoestring select).")
    return recipe, origin


def run_experiment(
    recipe: SweepRecipe, origin: Mapping[str, str], command: Mapping[str, Any], started: float, *, alone: bool = True
) -> int:
    """Run an experiment, and print its results; return the exit code."""
    from shoestring.cli.run import print_origins
    from shoestring.experiments.run import run

    if not alone:
        raise UserError("an experiment starts a process for each run: run it without torchrun.")
    for name in ("plan", "sensitivity", "log"):
        if command.get(name):
            raise UserError(f"--{name} is for one run: omit --seeds, --folds and --over.")
    if command.get("dry_run"):
        from shoestring.experiments.settings import check_experiment

        check_experiment(recipe)
        return print_origins(recipe, dict(origin), as_json=command.get("json", False))
    progress = Progress(quiet=command.get("quiet", False))
    handle_signals()
    try:
        result = run(
            recipe,
            command.get("out") or _default_folder(recipe),
            started=started,
            log=progress.log,
            on_progress=lambda fraction: progress.update("runs", fraction, {}),
        )
    finally:
        progress.close()
    print_experiment(result, as_json=command.get("json", False))
    return 0


def print_experiment(result: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the results of an experiment as tables, or as JSON."""
    if as_json:
        print(json.dumps(result, indent=1))
        return
    from shoestring.cli.show import grid
    from shoestring.reporting.experiment import headline, notes
    from shoestring.reporting.experiment_tables import tables

    print(printable(headline(result)))
    for table in tables(result):
        if table.rows:
            grid(table.header, table.rows)
        if table.text:
            print(printable(table.text))
    for note in notes(result):
        print(printable(note))
    print(printable(f"saved to {result['out']}: report/index.html, trials.csv, trials/"))


def _default_folder(recipe: SweepRecipe) -> str:
    """Return a folder name that is the same for the same command, so that repeating it resumes the experiment."""
    stem = Path(recipe.data).name.partition(".")[0][:40] or "data"
    return f"runs/{stem}-{recipe.sweep.kind}-{digest(recipe)}"
