"""The reject option: predictions below a probability are unknown; what that does is known from validation images."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring import execute
from shoestring.errors import UserError
from shoestring.evaluation.metrics import Predictions
from shoestring.models.model import Model
from shoestring.runs.directory import RunDir
from shoestring.runs.evaluation import load_own
from shoestring.runs.models import fingerprint
from shoestring.runs.validate import read_recipe
from shoestring.runtime.files import read_json, write_json

_FILE = "evaluate/confidence.json"


def measure_rejection(
    run: Path | None, model: Model, threshold: float, log: Callable[[str], None]
) -> dict[str, Any] | None:
    """Return `coverage` and `accuracy` at this threshold, on `images`, the number of validation images of the run.

    The accuracy is None if all of them are below the threshold. The result is None, with a log message, if there are no
    validation images. Confidences are kept in the run folder for the next time.
    """
    try:
        confidence, correct = _confidences(run, model, log)
    except UserError as error:
        log(f"accuracy and coverage at --unknown-below {threshold:g} are not known: {error}")
        return None
    known = confidence >= threshold
    return {
        "images": len(known),
        "coverage": float(known.mean()),
        "accuracy": float(correct[known].mean()) if known.any() else None,
    }


def _confidences(
    run: Path | None, model: Model, log: Callable[[str], None]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the probability of the predicted class, and whether it is correct, for each validation image.

    Raises `UserError` if there are none.
    """
    if run is None or read_recipe(RunDir(run)) is None:
        raise UserError("the model does not belong to a run.")
    file, key = run / _FILE, fingerprint(model)
    with contextlib.suppress(UserError, LookupError, TypeError, ValueError):
        stored = read_json(file)
        if stored["model"] == key:
            return np.array(stored["confidence"], np.float32), np.array(stored["correct"], bool)
    log("predicting the validation images of the run")
    images = load_own(run, "validation", skip_bad=True, progress=lambda *_: None)
    if not len(images):
        raise UserError("the run has no validation images.")
    found = execute.predict(model, images)
    assert isinstance(found, Predictions)  # of one class for each image
    correct = found.predicted == found.labels
    content = {"model": key, "confidence": found.confidence.round(6).tolist(), "correct": correct.tolist()}
    with contextlib.suppress(OSError):  # the folder may be read-only
        write_json(file, content)
    return found.confidence, correct
