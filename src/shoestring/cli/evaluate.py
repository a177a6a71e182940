"""`shoestring evaluate RUN --on DATA`: evaluate the model of a finished run on labeled images."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from shoestring.cli.flags import Parser, add_labels, add_output
from shoestring.cli.process import handle_signals
from shoestring.cli.progress import Progress
from shoestring.config.paths import expanded
from shoestring.errors import UserError
from shoestring.runs.directory import RunDir
from shoestring.runs.validate import check_separate, read_recipe
from shoestring.runtime.output_files import check_folder

_LABELS = ("labels", "path_column", "label_column", "split_column")
FILES = ("metrics.json", "per_class.csv", "confusion.csv", "predictions.csv", "skipped.json")


def main(verb: str, words: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    args = _parser(verb).parse_args(words)
    progress = Progress(quiet="quiet" in args)
    if "out" in args:
        check_folder(expanded(args.out), FILES, "--out", overwrite=args.overwrite)
    try:
        metrics = _evaluate(args, progress)
    finally:
        progress.close()
    progress.warn(metrics["warnings"])
    _print(metrics, args)
    return 0


def _evaluate(args: Namespace, progress: Progress) -> dict[str, Any]:
    run, out = expanded(args.run), expanded(args.out) if "out" in args else None
    on, split = (getattr(args, name, None) for name in ("on", "split"))
    columns = {name: getattr(args, name) for name in _LABELS if name in args}
    if columns and on is None:
        raise UserError("--labels lists images of other data: give their folder with --on DATA.")
    if out is not None:
        recipe = None if on else read_recipe(RunDir(run))
        check_separate(out, on or ("" if recipe is None else recipe.data))
    from shoestring.data.label_columns import as_labels
    from shoestring.runs.evaluation import evaluate, load_other, load_own
    from shoestring.runs.models import usable_model
    from shoestring.runtime.context import prepare

    handle_signals()
    model = usable_model(run, progress.log)
    model.module.to(prepare(device=args.device).device)
    progress.log("loading images")
    if on is None:
        images = load_own(run, split or "test", skip_bad=args.skip_bad, progress=progress.loading)
    else:
        labels, reports = as_labels(**{"labels": None, **columns}), {"log": progress.log, "progress": progress.loading}
        images = load_other(on, split, model, labels=labels, skip_bad=args.skip_bad, **reports)
    progress.log(f"evaluating on {len(images):,} images")
    return evaluate(model, images, split=split or on or "test", out=out)


def _parser(verb: str) -> Parser:
    parser = Parser(
        prog=f"shoestring {verb}", description="Evaluate the model of a finished run on any labeled images."
    )
    parser.add_argument("run", metavar="RUN", help="folder of a run or of a saved model")
    parser.add_argument("--on", metavar="DATA", help="images (default: the data of the run)")
    parser.add_argument(
        "--split", metavar="NAME", help="train, validation or test (default: test if it exists, else all images)"
    )
    add_labels(parser, *_LABELS)
    parser.add_argument("--out", metavar="DIR", help="also write metrics.json and CSV files to this folder")
    parser.add_argument("--skip-bad", action="store_true", default=False, help="skip images that cannot be read")
    parser.add_argument("--device", default="auto", help="device: cpu, cuda, cuda:1, mps or auto (default: auto)")
    parser.add_argument("--overwrite", action="store_true", default=False, help="overwrite existing files in --out")
    add_output(parser)
    return parser


def _print(metrics: dict[str, Any], args: Namespace) -> None:
    if "json" in args:
        from shoestring.evaluation.files import metrics_json

        print(metrics_json(metrics))
        return
    from shoestring.cli.show import grid, two_columns
    from shoestring.reporting.markdown import averages, describe_tta, headline
    from shoestring.reporting.multi_label import class_table, is_multi_label, label_rows

    if is_multi_label(metrics):
        rows = [("images", f"{metrics['images']:,}"), *label_rows(metrics)]
    else:
        rows = [("accuracy", headline(metrics).removeprefix("Accuracy ")), *averages(metrics)]
    rows.append(("loss", f"{metrics['loss']:.3f}"))
    two_columns([*rows, ("forward passes per prediction", describe_tta(metrics))])
    grid(*class_table(metrics))
