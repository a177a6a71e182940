"""`shoestring evaluate RUN --on DATA`: a finished run's model measured on other images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring.cli.flags import Parser, add_output
from shoestring.cli.process import interruptible
from shoestring.cli.progress import Progress
from shoestring.config.paths import expanded
from shoestring.errors import UserError, unknown
from shoestring.runs.directory import RunDir, write_skipped
from shoestring.runs.validate import check_apart, recorded
from shoestring.runtime.output_files import check_folder

if TYPE_CHECKING:
    from shoestring.data import Images

FILES = ("metrics.json", "per_class.csv", "confusion.csv", "predictions.csv", "skipped.json")


def main(verb: str, words: Sequence[str]) -> int:
    """Run the verb; its exit code."""
    parser = Parser(
        prog=f"shoestring {verb}", description="Measure the model of a finished run on any labelled images."
    )
    parser.add_argument("run", metavar="RUN", help="folder of a run, or of a saved model")
    parser.add_argument("--on", metavar="DATA", help="images (those of the run, when left out)")
    parser.add_argument("--split", metavar="NAME", help="train, validation or test (test if there is one, else all)")
    parser.add_argument("--out", metavar="DIR", help="also write metrics.json and the CSV files there")
    parser.add_argument("--skip-bad", action="store_true", default=False, help="leave out broken images and list them")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps, or auto")
    parser.add_argument("--overwrite", action="store_true", default=False, help="write --out over files of these names")
    add_output(parser)
    given = parser.parse_args(words)
    progress = Progress(quiet="quiet" in given)
    if "out" in given:
        check_folder(expanded(given.out), FILES, "--out", overwrite=given.overwrite)
    try:
        metrics = evaluate(
            expanded(given.run),
            given.on if "on" in given else None,
            split=given.split if "split" in given else None,
            out=expanded(given.out) if "out" in given else None,
            skip_bad=given.skip_bad,
            device=given.device,
            progress=progress,
        )
    finally:
        progress.close()
    progress.warn(metrics["warnings"])
    if "json" in given:
        from shoestring.evaluation.files import as_text

        print(as_text(metrics))
        return 0
    from shoestring.cli.show import grid, two_columns
    from shoestring.reporting.markdown import described, headline, percent

    rows = [("accuracy", headline(metrics)), ("loss", f"{metrics['loss']:.3f}")]
    two_columns([*rows, ("forward passes per prediction", described(metrics))])
    keys = ("recall", "precision", "f1")
    grid(
        ("class", "images", *keys),
        (
            [name, str(entry["images"]), *(percent(entry[key]) for key in keys)]
            for name, entry in metrics["per_class"].items()
        ),
    )
    return 0


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
    """Metrics of the model of `run` on a split of the data `on` (the run's own data when None)."""
    from shoestring.data import load_split
    from shoestring.evaluation.files import write
    from shoestring.evaluation.metrics import collect, measure
    from shoestring.evaluation.warnings import find_warnings
    from shoestring.models.inference import Predictor
    from shoestring.runs.session import usable_model
    from shoestring.runtime.context import prepare

    interruptible()
    if out is not None:
        recipe = None if on else recorded(RunDir(run))
        check_apart(out, on or ("" if recipe is None else recipe.data))
    model = usable_model(run, progress.log)
    model.module.to(prepare(device=device).device)

    def on_progress(done: int, total: int) -> None:
        progress.update("load", done / total if total else 0.0, {"images": done})

    progress.log("loading images")
    if on is None:
        images = _own(run, split or "test", skip_bad=skip_bad, on_progress=on_progress)
    else:
        images = load_split(
            on,
            split,
            classes=model.classes,
            resolution=model.preprocessing.resolution,
            skip_bad=skip_bad,
            progress=on_progress,
            log=progress.log,
        )
    progress.log(f"evaluating on {len(images):,} images")
    predictor = Predictor(model)
    predictions = collect(predictor(images), images.targets, classes=len(model.classes))
    metrics = measure(predictions, classes=model.classes, split=split or on or "test")
    if out is not None:
        write(out, metrics, predictions, images)
        write_skipped(out, images.skipped)
    made = predictor.made
    figures = metrics.as_dict()
    return {
        **figures,
        "warnings": find_warnings(figures),
        "prediction": {"passes": made.passes_per_image},
        "views": {"model": predictor.views, "mirror": model.preprocessing.mirror, "images": made.views},
    }


def _own(run: Path, split: str, *, skip_bad: bool, on_progress: Callable[[int, int], None]) -> Images:
    """A split of the data of the run, divided as the run divided it, so that its test images are those never seen."""
    from shoestring.data import load
    from shoestring.runs.session import arguments, same_images

    recipe = recorded(RunDir(run))
    if recipe is None:
        raise UserError(f"{run} does not say which data it was trained on: say --on DATA.")
    data = load(**{**arguments(recipe), "skip_bad": skip_bad or recipe.skip_bad}, progress=on_progress)
    same_images(RunDir(run), data.train)
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    if split not in splits:
        raise unknown("split", split, splits)
    return splits[split]
