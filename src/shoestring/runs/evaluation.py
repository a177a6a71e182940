"""Evaluate the model of a finished run on any labeled images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from shoestring.data import Images, load, load_split
from shoestring.data.label_columns import Labels
from shoestring.errors import UserError, unknown
from shoestring.evaluation.files import write_metrics
from shoestring.evaluation.tasks import collect, measure
from shoestring.evaluation.warnings import find_warnings
from shoestring.models.inference import Predictor
from shoestring.models.model import Model
from shoestring.runs.directory import RunDir, write_skipped
from shoestring.runs.inputs import check_same_images
from shoestring.runs.loading import load_arguments
from shoestring.runs.validate import read_recipe
from shoestring.tasks import MULTI_LABEL


def evaluate(model: Model, images: Images, *, split: str, out: Path | None = None) -> dict[str, Any]:
    """Return the metrics of a model on labeled images as plain values, with warnings; also write them to a folder."""
    predictor = Predictor(model)
    predictions = collect(predictor(images), images)
    metrics = measure(predictions, classes=model.classes, split=split)
    if out is not None:
        write_metrics(out, metrics, predictions, images)
        write_skipped(out, images.skipped)
    stats, figures = predictor.stats, metrics.as_dict()
    return {
        **figures,
        "warnings": find_warnings(figures),
        "prediction": {"passes": stats.passes_per_image},
        "tta": {"model": predictor.tta, "mirror": model.preprocessing.mirror, "images": stats.images_by_tta},
    }


def load_other(
    source: str,
    split: str | None,
    model: Model,
    *,
    labels: Labels | None = None,
    skip_bad: bool,
    log: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> Images:
    """Load a split of other images, labeled with the classes of the model, of its size and fit.

    With `labels`, the labels are those of a table beside the images of a folder.
    """
    size = model.preprocessing
    if labels is not None and labels.label is None and model.task == MULTI_LABEL:
        labels = replace(labels, label=model.classes)
    return load_split(
        source,
        split,
        classes=model.classes,
        task=model.task,
        resolution=size.resolution,
        fit=size.fit,
        labels=labels,
        skip_bad=skip_bad,
        progress=progress,
        log=log,
    )


def load_own(run: Path, split: str, *, skip_bad: bool, progress: Callable[[int, int], None]) -> Images:
    """Load a split of the run's own data, divided as in the run, so that its test images were never trained on."""
    recipe = read_recipe(RunDir(run))
    if recipe is None:
        raise UserError(f"{run} does not record its training data: give the data as --on DATA.")
    data = load(**{**load_arguments(recipe, RunDir(run)), "skip_bad": skip_bad or recipe.skip_bad}, progress=progress)
    check_same_images(RunDir(run), data.train)
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    if split not in splits:
        raise unknown("split", split, splits)
    return splits[split]
