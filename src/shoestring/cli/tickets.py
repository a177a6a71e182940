"""`shoestring tickets DATA|RUN`: find lottery tickets, beside control networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shoestring.budget import process_started
from shoestring.cli.flags import Parser, add_output, add_recipe, collect_settings, join_values
from shoestring.cli.process import handle_signals
from shoestring.cli.progress import Progress
from shoestring.cli.run import COMMAND_ARGUMENTS, print_origins, print_result
from shoestring.config.layers import merge
from shoestring.config.paths import expanded
from shoestring.config.recipe import Prune, Select, TicketsRecipe
from shoestring.config.recipe_file import read
from shoestring.config.serialize import digest
from shoestring.errors import UserError
from shoestring.escaping import printable
from shoestring.runs.directory import RunDir
from shoestring.runs.inherit import planned_settings
from shoestring.runs.validate import check, check_run_folder

# An architecture and settings for which the effect is known; a run, recipe or flag takes precedence.
_DEFAULTS = {"train": {"model": "conv2", "tta": "none"}, "tickets": {}}


def main(verb: str, words: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    started, parser = process_started(), _parser(verb)
    known, unknown = parser.parse_known_args(join_values(parser, words))
    args = vars(known)
    command = {name: args.pop(name) for name in COMMAND_ARGUMENTS if name in args}
    recipe, origin = _recipe(parser, command, collect_settings(parser, verb, args, unknown))
    check(recipe)
    if command.get("dry_run"):
        return print_origins(recipe, origin, as_json=command.get("json", False))
    return _execute(recipe, command, started)


def _parser(verb: str) -> Parser:
    parser = Parser(
        prog=f"shoestring {verb}",
        usage=f"shoestring {verb} DATA|RUN [flags]",
        description="Find lottery tickets (Frankle & Carbin 2019): train a network, remove its smallest weights, "
        "rewind the others, and train again, several times; with control networks at each level.",
    )
    parser.add_argument(
        "data",
        metavar="DATA|RUN",
        nargs="?",
        help="images, as for `shoestring train`, or the folder of a run, whose data, network and training settings are "
        "used",
    )
    add_recipe(parser, verb)
    add_output(parser)
    return parser


def _recipe(parser: Parser, command: dict[str, Any], flags: dict[str, Any]) -> tuple[TicketsRecipe, dict[str, str]]:
    """Merge defaults, the run whose settings are used, the recipe file and the flags."""
    layers: list[tuple[str, dict[str, Any]]] = [("default", _DEFAULTS)]
    if "recipe" in command:
        layers.append((command["recipe"], read(command["recipe"])))
    given = [content["data"] for _, content in (*layers, ("", command)) if content.get("data")]
    if not given:
        raise UserError(f"the argument DATA or RUN is missing. (`{parser.prog} --help`)")
    source = expanded(str(given[-1])) if "data" in command else None
    if source is not None and (source / "run.json").is_file():
        layers.insert(1, (str(source), planned_settings(str(source))))
        command = {name: value for name, value in command.items() if name != "data"}
    layers.append(("flags", {**{name: command[name] for name in ("data",) if name in command}, **flags}))
    recipe, origin = merge(*layers)
    assert isinstance(recipe, TicketsRecipe)
    return replace(recipe, select=Select(subset=recipe.select.subset), prune=Prune()), origin


def _execute(recipe: TicketsRecipe, command: dict[str, Any], started: float) -> int:
    progress = Progress(quiet=command.get("quiet", False))
    folder = RunDir(Path(command.get("out") or _default_folder(recipe)))
    check_run_folder(recipe, folder.path)
    folder.check_usable()
    progress.log("loading PyTorch")
    from shoestring.runs.tickets import run
    from shoestring.runtime.context import prepare

    handle_signals()
    machine = {"device": recipe.device, "memory": recipe.memory, "threads": recipe.threads, "seed": recipe.seed}
    context = prepare(**machine, log=progress.log, on_progress=progress.update)
    done = "result" in folder.run
    try:
        result = run(recipe, folder, context=context, started=started)
    finally:
        progress.close()
    progress.warn(result.get("warnings", ()))
    return print_result(result, show, folder if done else None, as_json=command.get("json", False))


def show(result: dict[str, Any]) -> None:
    """Print the table of accuracies, and the notes."""
    from shoestring.cli.show import grid
    from shoestring.reporting.tickets import grid_of

    grid(*grid_of(result["summary"]))
    for note in result["notes"]:
        print(printable(note))
    print(
        printable(
            f"saved to {result['out']}: tickets.csv, tickets/rows.json, report/index.html, report/report.md, model"
        )
    )


def _default_folder(recipe: TicketsRecipe) -> str:
    """Return a folder name that is the same for the same command, so that repeating it resumes the experiment."""
    stem = Path(recipe.data).name.partition(".")[0][:40] or "data"
    return f"runs/{stem}-tickets-{recipe.train.model.replace('timm:', '')}-{digest(recipe)}"
