"""The verbs that spend a budget: run, select, train, prune."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from shoestring.budget import process_started
from shoestring.cli.flags import Parser, add_output, add_recipe, layer, with_values
from shoestring.cli.process import interruptible
from shoestring.cli.progress import Progress
from shoestring.config.paths import expanded, overlap
from shoestring.config.recipe import Prune, Recipe, Select, as_dict, digest
from shoestring.config.recipe_file import read
from shoestring.config.resolve import resolve
from shoestring.errors import UserError
from shoestring.escaping import printable
from shoestring.runs.directory import RunDir
from shoestring.runs.validate import check, check_apart, check_place, recorded
from shoestring.runtime.distributed import Distributed, connection_lost, process_group
from shoestring.runtime.output_files import check_file

_ABOUT = {
    "run": "Choose images, train a network inside the time, cut it to size, measure it.",
    "select": "Choose the training images worth having; leaves select/subset.json for `--subset`.",
    "train": "Train a network on all images or a subset, ending exactly when the budget does.",
    "prune": "Cut the network of a finished run to size and train it on.",
}
_LONGEST_STEM = 40  # characters of the data's name: the whole name has to fit into 255 bytes
_SETTINGS = (
    "recipe",
    "out",
    "dry_run",
    "plan",
    "json",
    "quiet",
    "debug",
    "data",
    "start",
    "copy_to",
    "csv",
    "overwrite",
)


def main(verb: str, words: Sequence[str]) -> int:
    """Run the verb; its exit code."""
    started = process_started()
    with process_group() as job:
        try:
            return _main(verb, words, started, job)
        except RuntimeError as error:
            if job is None or not connection_lost(error):
                raise
            raise UserError("another process of this job has ended: its own last lines say why.") from None


def _main(verb: str, words: Sequence[str], started: float, job: Distributed | None) -> int:
    what = "RUN" if verb == "prune" else "DATA"
    parser = Parser(prog=f"shoestring {verb}", usage=f"shoestring {verb} {what} [flags]", description=_ABOUT[verb])
    if verb == "prune":
        parser.add_argument("start", metavar="RUN", nargs="?", help="folder of the finished run")
    else:
        parser.add_argument(
            "data",
            metavar="DATA",
            nargs="?",
            help="a folder of class folders or of Parquet files, a Hub id, an .npz file, a data set name, or digits",
        )
    add_recipe(parser, verb)
    add_output(parser)
    if verb == "select":
        group = parser.add_argument_group("what is chosen, for people and other tools (after the budget)")
        group.add_argument("--copy-to", metavar="DIR", type=Path, help="copy the images there, in class folders")
        group.add_argument("--csv", metavar="FILE", type=Path, help="list the images in a table")
        group.add_argument("--overwrite", action="store_true", help="write --csv and --copy-to over files of theirs")
    known, rest = parser.parse_known_args(with_values(parser, words))
    given = vars(known)
    settings = {name: given.pop(name) for name in _SETTINGS if name in given}
    recipe, origin = _recipe(parser, verb, settings, layer(parser, verb, given, rest))
    check(recipe)
    if settings.get("dry_run"):
        return _dry(recipe, origin, as_json=settings.get("json", False))
    return _do(verb, recipe, settings, started, job)


def _recipe(
    parser: Parser, verb: str, settings: dict[str, Any], flags: dict[str, Any]
) -> tuple[Recipe, dict[str, str]]:
    """The recipe of flags, recipe file and, for `prune`, of the run to start from; and where each value came from."""
    layers: list[tuple[str, dict[str, Any]]] = []
    if "recipe" in settings:
        layers.append((settings["recipe"], read(settings["recipe"])))
    where = {name: settings[name] for name in ("data", "start") if name in settings}
    layers.append(("flags", {**where, **flags}))
    needed = "start" if verb == "prune" else "data"
    told = [content[needed] for _, content in layers if content.get(needed)]
    if not told:
        raise UserError(f"which {'run' if verb == 'prune' else 'data'}? (`{parser.prog} --help`)")
    if verb == "prune":
        layers.insert(0, _started(str(told[-1])))
    recipe, origin = resolve(*layers)
    if verb == "train":  # of a recipe for everything this step takes its own part
        recipe = replace(recipe, select=Select(subset=recipe.select.subset), prune=Prune())
    if verb != "select" and recipe.unlabelled:
        raise UserError("a network is trained on labels: images that have none can only be chosen (shoestring select).")
    if verb == "select" and recipe.select.examples is None:
        raise UserError("how many images? Say --examples N.")
    if verb == "prune" and not recipe.prune.enabled:
        raise UserError("how small? Say --macs or --params, as a share (0.5) or a number (200k).")
    return recipe, origin


def _started(run: str) -> tuple[str, dict[str, Any]]:
    """What a pruning takes over from the run that it starts from: its data, its images and how it was trained."""
    recipe = recorded(RunDir(Path(run)))
    if recipe is None:
        raise UserError(f"{run} is no run directory (it has no run.json that tells the recipe).")
    before = as_dict(recipe)
    kept = {
        key: before[key]
        for key in ("data", "resolution", "validation", "split_seed", "keep", "skip_bad")
        if key in before
    }
    subset = expanded(run) / "select" / "subset.json"
    chosen = str(subset) if subset.exists() else recipe.select.subset
    kept["train"] = before["train"]
    kept["select"] = {"subset": chosen} if chosen else {}
    return run, kept


def _dry(recipe: Recipe, origin: dict[str, str], *, as_json: bool) -> int:
    """Print every value and where it came from."""
    rows = {name: (_value(recipe, name), source) for name, source in origin.items()}
    if as_json:
        print(json.dumps({name: {"value": value, "from": source} for name, (value, source) in rows.items()}, indent=1))
        return 0
    wide = max(len(name) for name in rows)
    for name, (value, source) in rows.items():
        print(printable(f"{name:<{wide}}  {'-' if value is None else value!s:<16}  {source}"))
    return 0


def _value(recipe: Recipe, name: str) -> Any:
    section, dot, field = name.partition(".")
    if not dot:
        return getattr(recipe, name)
    part = getattr(recipe, section)
    return getattr(part, field) if hasattr(part, field) else part.options[field]


def _do(verb: str, recipe: Recipe, settings: dict[str, Any], started: float, job: Distributed | None) -> int:
    copy, table = (None if name not in settings else expanded(settings[name]) for name in ("copy_to", "csv"))
    overwrite = settings.get("overwrite", False)
    progress = Progress(quiet=settings.get("quiet", False))
    folder = RunDir(Path(settings.get("out") or _default_folder(recipe, verb)))
    check_place(recipe, folder.path)  # before PyTorch is loaded, which takes seconds
    folder.check_free()
    for flag, place in (("--copy-to", copy), ("--csv", table)):
        if place is not None:
            check_apart(place, recipe.data, flag=flag)
    if table is not None:  # of a choice that is done, the same table may be there
        check_file(table, "--csv", overwrite=overwrite or "result" in folder.run)
    if copy is not None:
        from shoestring.selection.export import check_room

        if overlap(copy, folder.path):
            raise UserError(f"{copy} and the run folder, {folder.path}, must lie apart: choose another --copy-to.")
        if "result" not in folder.run:
            check_room(copy)
    progress.log("loading PyTorch")
    from shoestring.cli.distributed import prepare_all
    from shoestring.cli.show import show
    from shoestring.runs import pipeline, preview

    interruptible()

    machine = {"device": recipe.device, "memory": recipe.memory, "threads": recipe.threads, "seed": recipe.seed}
    around = prepare_all(machine, job, log=progress.log, on_progress=progress.update)
    done = "result" in folder.run
    work = pipeline.select_only if verb == "select" else preview.preview if settings.get("plan") else pipeline.run
    try:
        result = work(recipe, folder, context=around, started=started)
        if copy is not None or table is not None:
            pipeline.hand_out(recipe, folder, context=around, copy=copy, table=table, overwrite=overwrite)
    finally:
        progress.close()
    progress.warn(result.get("warnings", ()))
    if settings.get("json"):
        print(json.dumps(result, indent=1))
        return 0
    with folder.showing() if done else nullcontext():
        show("plan" if settings.get("plan") else verb, result)
    return 0


def _default_folder(recipe: Recipe, verb: str) -> str:
    """A name that says what is in it and is the same for the same command, so that this goes on or is done."""
    source = recipe.start or recipe.data
    stem = Path(source).name.partition(".")[0][:_LONGEST_STEM] or "data"
    if verb == "select":  # a choice cannot be extended
        recipe = replace(recipe, train=replace(recipe.train, schedule="deadline"))
    what = {"select": "chosen", "prune": "pruned"}.get(verb) or recipe.train.model.replace("timm:", "")
    return f"runs/{stem}-{what}-{digest(recipe)}"
