"""The files that a recipe names besides the images, and whether they are still those that a run has read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shoestring.config.recipe import Recipe
from shoestring.data import Images
from shoestring.errors import UserError
from shoestring.models.description import model_folder
from shoestring.runs.directory import RunDir
from shoestring.selection.subset import subset_file

_WEIGHTS = "model.safetensors"


def file_states(recipe: Recipe) -> dict[str, list[int]]:
    """By path, size in bytes and time of modification (ns) of the subset, weights and features files there are."""
    select, train = recipe.select, recipe.train
    files = [subset_file(name) for name in (recipe.keep, select.subset, select.already) if name is not None]
    if train.weights is not None and train.weights != "pretrained":
        files.append(Path(train.weights))
    if select.features is not None and (path := _features_path(select.features)) is not None:
        files.append(path)
    if recipe.start is not None and (folder := model_folder(Path(recipe.start))) is not None:
        files.append(folder / _WEIGHTS)
    return {str(file): _state(file) for file in files if file.exists()}


def _features_path(features: str) -> Path | None:
    """The file that features are read from, or the weights of the network that computes them; None for a name."""
    if features.startswith("timm:"):
        _, _, file = features.partition("@")
        return Path(file) if file else None
    folder = model_folder(Path(features))
    return Path(features) if folder is None else folder / _WEIGHTS


def _state(file: Path) -> list[int]:
    found = file.stat()
    return [found.st_size, found.st_mtime_ns]


def check_same_files(recipe: Recipe, folder: RunDir) -> None:
    """Raise `UserError` when a file that the run in the folder was begun with has changed since.

    Files that are gone are not missed here: what needs them says so.
    """
    before: dict[str, Any] = folder.run.get("files", {})
    for path, state in file_states(recipe).items():
        if path in before and list(before[path]) != state:
            raise UserError(
                f"{path} has changed since {folder.path} was begun, and the run there is of the file as it was then. "
                "Bring it back, or start anew: choose another --out, or remove that folder."
            )


def check_same_images(folder: RunDir, images: Images) -> None:
    """Raise `UserError` if these are not the training images that the run in the folder began with."""
    before = folder.run.get("data")
    if before is not None and before["fingerprint"] != images.fingerprint:
        raise UserError(
            f"the images of {before['name']} have changed since {folder.path} was begun. Restore them, or "
            "start over: choose another --out, or remove that folder."
        )
