"""The model of a run, finished or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from shoestring.errors import UserError
from shoestring.models.description import model_folder
from shoestring.models.model import Model
from shoestring.runs.directory import RunDir
from shoestring.training.snapshots import newest


def usable_model(run: Path, log: Callable[[str], None]) -> Model:
    """Return the final model of a run, or the last snapshot of an unfinished run, with a log message."""
    snapshot = newest(run / "prune") or newest(run / "train")
    if model_folder(run) is not None or snapshot is None:
        return final_model(run)
    log(f"{run} is not finished: using the last snapshot of its training")
    return Model.load(snapshot)


def final_model(run: Path) -> Model:
    """Return the final model of a run, or the one in a model folder. Raises `UserError` if there is none."""
    folder = model_folder(run)
    if folder is None:
        result = RunDir(run).run.get("result")
        if result is not None and "accuracy" not in result:
            raise UserError(f"{run} is a selection, without a network: pass the folder of a run that trained one.")
        raise UserError(f"{run} holds no model: pass the folder of a finished run.")
    return Model.load(folder)
