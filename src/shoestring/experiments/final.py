"""Test what was chosen on validation images: its runs on the test split, once, at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from shoestring.evaluation.files import write_metrics
from shoestring.evaluation.significance import mean_interval
from shoestring.evaluation.tasks import collect, measure
from shoestring.models.inference import Predictor
from shoestring.runs.evaluation import load_own
from shoestring.runs.models import usable_model


def evaluate_on_test(
    folder: Path,
    names: Sequence[str],
    *,
    overlap: float,
    device: str,
    remaining: Callable[[], float],
    log: Callable[[str], None],
) -> dict[str, Any] | None:
    """Evaluate these runs of an experiment on the test split; return accuracies, or None without test images.

    `overlap` is that of their training images, for `mean_interval`. Metrics and predictions are written to `test/` in
    the folder of the experiment. `remaining` returns the seconds that this may still take: if they are few, predictions
    use less test-time augmentation.
    """
    from shoestring.runtime.context import prepare

    context, images, accuracies, intervals = prepare(device=device), None, dict[str, float](), []
    pending = 0
    for number, name in enumerate(names):
        run = folder / "trials" / name
        model = usable_model(run, log)
        if images is None:
            images = load_own(run, "test", skip_bad=False, progress=lambda done, total: None)
            pending = len(images) * len(names)
        if not len(images):
            return None
        model.module.to(context.device)
        predictor = Predictor(model, remaining=remaining, pending=pending - number * len(images))
        predictions = collect(predictor(images), images)
        metrics = measure(predictions, classes=model.classes, split="test")
        write_metrics(folder / "test" / name, metrics, predictions, images)
        accuracies[name] = metrics.accuracy
        intervals.append(metrics.interval)
    mean, interval = mean_interval(list(accuracies.values()), overlap=overlap)
    assert images is not None
    return {
        "accuracy": mean,
        "interval": list(interval or intervals[0]),
        "images": len(images),
        "runs": accuracies,
    }
