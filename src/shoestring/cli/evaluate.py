"""`shoestring evaluate RUN --on DATA`: evaluate the model of a finished run on labeled images."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring.cli.flags import Parser, add_output
from shoestring.cli.process import handle_signals
from shoestring.cli.progress import Progress
from shoestring.config.paths import expanded
from shoestring.config.units import format_percent
from shoestring.errors import UserError, unknown
from shoestring.runs.directory import RunDir, write_skipped
from shoestring.runs.validate import check_separate, read_recipe
from shoestring.runtime.output_files import check_folder

if TYPE_CHECKING:
    from shoestring.data import Images

FILES = ("metrics.json", "per_class.csv", "confusion.csv", "predictions.csv", "skipped.json")


def main(verb: str, words: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    args = _parser(verb).parse_args(words)
    progress = Progress(quiet="quiet" in args)
    if "out" in args:
        check_folder(expanded(args.out), FILES, "--out", overwrite=args.overwrite)
    try:
        metrics = evaluate(
            expanded(args.run),
            args.on if "on" in args else None,
            split=args.split if "split" in args else None,
            out=expanded(args.out) if "out" in args else None,
            skip_bad=args.skip_bad,
            device=args.device,
            progress=progress,
        )
    finally:
        progress.close()
    progress.warn(metrics["warnings"])
    _print(metrics, args)
    return 0


def _parser(verb: str) -> Parser:
    parser = Parser(
        prog=f"shoestring {verb}", description="Evaluate the model of a finished run on any labeled images."
    )
    parser.add_argument("run", metavar="RUN", help="folder of a run or of a saved model")
    parser.add_argument("--on", metavar="DATA", help="images (default: the data of the run)")
    parser.add_argument(
        "--split", metavar="NAME", help="train, validation or test (default: test if it exists, else all images)"
    )
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
    from shoestring.reporting.markdown import describe_tta, headline

    rows = [("accuracy", headline(metrics).removeprefix("Accuracy ")), ("loss", f"{metrics['loss']:.3f}")]
    two_columns([*rows, ("forward passes per prediction", describe_tta(metrics))])
    keys = ("recall", "precision", "f1")
    grid(
        ("class", "images", *keys),
        (
            [name, str(entry["images"]), *(format_percent(entry[key]) for key in keys)]
            for name, entry in metrics["per_class"].items()
        ),
    )


def evaluate(
    run: Path,
    on: str | None,
    *,
    split: str | None,
    out: Path | None,
    skip_bad: bool,
    device: str,
    progress: Progress,
) -> dict[str, Any]:
    """Return the metrics of the model of `run` on a split of the data `on` (by default, the run's own data)."""
    from shoestring.data import load_split
    from shoestring.evaluation.files import write_metrics
    from shoestring.evaluation.metrics import collect_predictions, compute_metrics
    from shoestring.evaluation.warnings import find_warnings
    from shoestring.models.inference import Predictor
    from shoestring.runs.models import usable_model
    from shoestring.runtime.context import prepare

    handle_signals()
    if out is not None:
        recipe = None if on else read_recipe(RunDir(run))
        check_separate(out, on or ("" if recipe is None else recipe.data))
    model = usable_model(run, progress.log)
    model.module.to(prepare(device=device).device)
    progress.log("loading images")
    if on is None:
        images = _own_images(run, split or "test", skip_bad=skip_bad, on_progress=progress.loading)
    else:
        images = load_split(
            on,
            split,
            classes=model.classes,
            resolution=model.preprocessing.resolution,
            skip_bad=skip_bad,
            progress=progress.loading,
            log=progress.log,
        )
    progress.log(f"evaluating on {len(images):,} images")
    predictor = Predictor(model)
    predictions = collect_predictions(predictor(images), images.targets, classes=len(model.classes))
    metrics = compute_metrics(predictions, classes=model.classes, split=split or on or "test")
    if out is not None:
        write_metrics(out, metrics, predictions, images)
        write_skipped(out, images.skipped)
    stats = predictor.stats
    figures = metrics.as_dict()
    return {
        **figures,
        "warnings": find_warnings(figures),
        "prediction": {"passes": stats.passes_per_image},
        "tta": {"model": predictor.tta, "mirror": model.preprocessing.mirror, "images": stats.images_by_tta},
    }


def _own_images(run: Path, split: str, *, skip_bad: bool, on_progress: Callable[[int, int], None]) -> Images:
    """Return a split of the run's data, divided as in the run, so that its test images were never trained on."""
    from shoestring.data import load
    from shoestring.runs.inputs import check_same_images
    from shoestring.runs.loading import load_arguments

    recipe = read_recipe(RunDir(run))
    if recipe is None:
        raise UserError(f"{run} does not record its training data: give the data as --on DATA.")
    data = load(**{**load_arguments(recipe), "skip_bad": skip_bad or recipe.skip_bad}, progress=on_progress)
    check_same_images(RunDir(run), data.train)
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    if split not in splits:
        raise unknown("split", split, splits)
    return splits[split]
