"""Where the model of a run is, finished or not; imports no torch."""

from __future__ import annotations

from pathlib import Path

from shoestring.config.model_files import model_folder, newest_snapshot
from shoestring.errors import UserError
from shoestring.runs.directory import RunDir


def usable_folder(run: Path) -> tuple[Path, bool]:
    """Return the folder of the final model of a run or of its last snapshot, and whether it is the final one.

    Raises `UserError` if there is neither.
    """
    final = model_folder(run)
    found = final or newest_snapshot(run / "prune") or newest_snapshot(run / "train")
    if found is None:
        raise no_model(run)
    return found, final is not None


def no_model(run: Path) -> UserError:
    """Return the error for a folder without a model."""
    result = RunDir(run).run.get("result")
    if result is not None and "accuracy" not in result:
        return UserError(f"{run} is a selection, without a network: pass the folder of a run that trained one.")
    problem = "holds no model" if run.is_dir() else "is not a folder"
    return UserError(f"{run} {problem}: pass the folder of a finished run.")
