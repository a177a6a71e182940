"""The verbs that spend a budget: run, select, train, prune."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from shoestring.budget import process_started
from shoestring.cli.flags import Parser, add_output, add_recipe, collect_settings, join_values
from shoestring.cli.process import handle_signals
from shoestring.cli.progress import Progress
from shoestring.cli.sweep import run_experiment
from shoestring.config.layers import merge
from shoestring.config.paths import expanded, overlap
from shoestring.config.recipe import Prune, Recipe, Select, SweepRecipe
from shoestring.config.recipe_file import read
from shoestring.config.serialize import as_dict, digest
from shoestring.errors import UserError
from shoestring.escaping import printable
from shoestring.runs.directory import RunDir
from shoestring.runs.inherit import inherited_settings
from shoestring.runs.validate import check, check_run_folder, check_separate
from shoestring.runtime.distributed import Distributed, connection_lost, process_group
from shoestring.runtime.output_files import check_file
from shoestring.runtime.tracking import Tracker

_DESCRIPTIONS = {
    "run": "Select images, train a network within the budget, prune it to size, and evaluate it.",
    "select": "Select the most valuable training images; writes select/subset.json for `--subset`.",
    "train": "Train a network on all images or a subset, ending exactly when the budget does.",
    "prune": "Prune the network of a finished run to size, and fine-tune it.",
}
_MAX_STEM = 40  # characters of the data's name: the folder name must fit into 255 bytes
# arguments that are not part of the recipe, or have no section in it
COMMAND_ARGUMENTS = ("recipe", "out", "dry_run", "plan", "sensitivity", "json", "quiet", "debug", "data", "start")
COMMAND_ARGUMENTS += ("copy_to", "csv", "overwrite", "log")


def main(verb: str, words: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    started = process_started()
    with process_group() as job:
        try:
            return _main(verb, words, started, job)
        except RuntimeError as error:
            if job is None or not connection_lost(error):
                raise
            raise UserError("another process of this job has ended; its last lines of output say why.") from None


def _main(verb: str, words: Sequence[str], started: float, job: Distributed | None) -> int:
    parser = _parser(verb)
    known, unknown = parser.parse_known_args(join_values(parser, words))
    args = vars(known)
    command = {name: args.pop(name) for name in COMMAND_ARGUMENTS if name in args}
    recipe, origin = _recipe(parser, verb, command, collect_settings(parser, verb, args, unknown))
    if isinstance(recipe, SweepRecipe):
        if verb == "select":
            raise UserError("a selection is one run: omit the section sweep of the recipe.")
        if not recipe.sweep.is_one_run:
            return run_experiment(recipe, origin, command, started, alone=job is None)
        recipe = recipe.single
    check(recipe, pruned="sensitivity" in command)
    if command.get("dry_run"):
        return print_origins(recipe, origin, as_json=command.get("json", False))
    return _execute(verb, recipe, command, started, job)


def _parser(verb: str) -> Parser:
    what = "RUN" if verb == "prune" else "DATA"
    usage = f"shoestring {verb} {what} [flags]"
    parser = Parser(prog=f"shoestring {verb}", usage=usage, description=_DESCRIPTIONS[verb])
    if verb == "prune":
        parser.add_argument("start", metavar="RUN", nargs="?", help="folder of the finished run")
    else:
        parser.add_argument(
            "data",
            metavar="DATA",
            nargs="?",
            help="image folder with one folder per class, folder of Parquet files, .npz file, name of a data set, "
            "Hugging Face Hub id, or digits",
        )
    add_recipe(parser, verb)
    if verb == "prune":
        parser.add_argument(
            "--sensitivity",
            action="store_true",
            help="prune each layer alone, without training, print what it costs on validation images, and exit",
        )
    add_output(parser)
    if verb != "select":
        parser.add_argument(
            "--log",
            metavar="{tensorboard,mlflow}",
            help="also log losses and accuracies to TensorBoard (in the run folder) or MLflow",
        )
    if verb == "select":
        group = parser.add_argument_group("export of the selected images (after the budget)")
        group.add_argument("--copy-to", metavar="DIR", type=Path, help="copy the images to DIR, in class folders")
        group.add_argument("--csv", metavar="FILE", type=Path, help="write a table of the images")
        group.add_argument("--overwrite", action="store_true", help="overwrite existing files in --csv and --copy-to")
    return parser


def _recipe(parser: Parser, verb: str, command: dict[str, Any], flags: dict[str, Any]) -> tuple[Recipe, dict[str, str]]:
    """Merge the run to start from (for `prune`), the recipe file and the flags; return the origin of values as well."""
    layers: list[tuple[str, dict[str, Any]]] = []
    if "recipe" in command:
        layers.append((command["recipe"], read(command["recipe"])))
    sources = {name: command[name] for name in ("data", "start") if name in command}
    layers.append(("flags", {**sources, **flags}))
    required = "start" if verb == "prune" else "data"
    given = [content[required] for _, content in layers if content.get(required)]
    if not given:
        what = "RUN, the folder of a finished run," if verb == "prune" else "DATA"
        raise UserError(f"the argument {what} is missing. (`{parser.prog} --help`)")
    if verb == "prune":
        layers.insert(0, (str(given[-1]), inherited_settings(str(given[-1]))))
    recipe, origin = merge(*layers)
    if verb == "train":  # a recipe of a whole run also has sections for other steps
        recipe = replace(recipe, select=Select(subset=recipe.select.subset), prune=Prune())
    if verb != "select" and recipe.unlabeled:
        raise UserError("networks are trained on labels: unlabeled images can only be selected (shoestring select).")
    if verb == "select" and recipe.select.examples is None:
        raise UserError("the number of images is missing: give --examples N.")
    if "sensitivity" in command and recipe.prune.enabled:
        raise UserError("--sensitivity measures what pruning would cost, and prunes nothing: omit the target size.")
    if verb == "prune" and not recipe.prune.enabled and "sensitivity" not in command:
        raise UserError(
            "the target size is missing: give --macs or --params, a fraction (0.5) or a number (200k), --file-size, "
            "--latency or --keep-channels, or --clusters."
        )
    return recipe, origin


def print_origins(recipe: Recipe, origin: dict[str, str], *, as_json: bool) -> int:
    """Print every value, as a recipe file holds it, and its origin."""
    content = as_dict(recipe)
    rows = {name: (_value(content, name), source) for name, source in origin.items()}
    if as_json:
        print(json.dumps({name: {"value": value, "from": source} for name, (value, source) in rows.items()}, indent=1))
        return 0
    width = max(len(name) for name in rows)
    for name, (value, source) in rows.items():
        print(printable(f"{name:<{width}}  {'-' if value is None else value!s:<16}  {source}"))
    return 0


def _value(content: dict[str, Any], name: str) -> Any:
    section, dot, field = name.partition(".")
    return content[section].get(field) if dot else content.get(name)


def _execute(verb: str, recipe: Recipe, command: dict[str, Any], started: float, job: Distributed | None) -> int:
    progress = Progress(quiet=command.get("quiet", False))
    folder = RunDir(Path(command.get("out") or _default_folder(recipe, verb)))
    copy, table = (None if name not in command else expanded(command[name]) for name in ("copy_to", "csv"))
    overwrite, tracker = command.get("overwrite", False), None
    if "log" in command:
        tracker = Tracker(command["log"], folder.path, note=progress.log)
    _check_outputs(recipe, folder, copy=copy, table=table, overwrite=overwrite)  # before importing PyTorch, for seconds
    progress.log("loading PyTorch")
    from shoestring.cli.distributed import prepare_all
    from shoestring.cli.show import show
    from shoestring.runs import pipeline, preview, sensitivity

    handle_signals()

    machine = {"device": recipe.device, "memory": recipe.memory, "threads": recipe.threads, "seed": recipe.seed}

    def on_progress(step: str, fraction: float, values: dict[str, Any]) -> None:
        progress.update(step, fraction, values)
        if tracker is not None:
            tracker.on_progress(step, fraction, values)

    context = prepare_all(machine, job, log=progress.log, on_progress=on_progress)
    done = "result" in folder.run
    kind = next((name for name in ("plan", "sensitivity") if command.get(name)), verb)
    work = {"select": pipeline.select_only, "plan": preview.preview, "sensitivity": sensitivity.scan}.get(
        kind, pipeline.run
    )
    try:
        result = work(recipe, folder, context=context, started=started)
        if copy is not None or table is not None:
            pipeline.export_selection(recipe, folder, context=context, copy=copy, table=table, overwrite=overwrite)
        if tracker is not None and not done and kind == verb:
            tracker.log_results(result)
    finally:
        progress.close()
        if tracker is not None:
            tracker.close()
    progress.warn(result.get("warnings", ()))
    return print_result(result, partial(show, kind), folder if done else None, as_json=command.get("json", False))


def print_result(
    result: dict[str, Any], show: Callable[[dict[str, Any]], None], read_from: RunDir | None, *, as_json: bool
) -> int:
    """Print results as JSON, or by `show`; those that were read from a run folder may be damaged."""
    if as_json:
        print(json.dumps(result, indent=1))
        return 0
    with nullcontext() if read_from is None else read_from.checking_results():
        show(result)
    return 0


def _check_outputs(recipe: Recipe, folder: RunDir, *, copy: Path | None, table: Path | None, overwrite: bool) -> None:
    """Raise `UserError` unless all output files and folders can be written and are separate from the data."""
    check_run_folder(recipe, folder.path)
    folder.check_usable()
    for flag, path in (("--copy-to", copy), ("--csv", table)):
        if path is not None:
            check_separate(path, recipe.data, flag=flag)
    if table is not None:  # a finished selection may write the same table again
        check_file(table, "--csv", overwrite=overwrite or "result" in folder.run)
    if copy is not None:
        from shoestring.selection.export import check_copy_folder

        if overlap(copy, folder.path):
            raise UserError(f"{copy} and the run folder, {folder.path}, must be separate: choose another --copy-to.")
        if "result" not in folder.run:
            check_copy_folder(copy)


def _default_folder(recipe: Recipe, verb: str) -> str:
    """Return a descriptive folder name that is the same for the same command, so that repeating it resumes the run."""
    source = recipe.start or recipe.data
    stem = Path(source).name.partition(".")[0][:_MAX_STEM] or "data"
    if verb == "select":  # a selection cannot be extended
        recipe = replace(recipe, train=replace(recipe.train, schedule="deadline"))
    what = {"select": "selected", "prune": "pruned"}.get(verb) or recipe.train.model.replace("timm:", "")
    return f"runs/{stem}-{what}-{digest(recipe)}"
