"""Checks that the images and the other input files of a run have not changed."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from shoestring.config.model_files import model_folder
from shoestring.config.paths import timm_network
from shoestring.config.recipe import Recipe
from shoestring.data import Images, load, load_unlabeled
from shoestring.errors import UserError
from shoestring.runs.directory import RunDir
from shoestring.runs.loading import current_key, load_arguments, read_arguments
from shoestring.runtime.context import Context
from shoestring.selection.subset import subset_file

_WEIGHTS = "model.safetensors"


def file_states(recipe: Recipe) -> dict[str, list[int]]:
    """Return size (bytes) and modification time (ns), by path, of the files of labels, subset, weights and features.

    Files that do not exist are left out.
    """
    select, train = recipe.select, recipe.train
    files = [subset_file(name) for name in (recipe.keep, select.subset, select.already) if name is not None]
    if recipe.labels is not None:
        files.append(Path(recipe.labels))
    weights = (train.weights, select.proxy_weights)
    files += [Path(name) for name in weights if name not in (None, "pretrained", "none")]
    if select.features is not None and (path := _features_path(select.features)) is not None:
        files.append(path)
    if recipe.start is not None and (folder := model_folder(Path(recipe.start))) is not None:
        files.append(folder / _WEIGHTS)
    return {str(file): _state(file) for file in files if file.exists()}


def _features_path(features: str) -> Path | None:
    """File of the features, or of the weights of the network that computes them; None for the name of a network."""
    network = timm_network(features)
    if network is not None:
        return None if network[1] is None else Path(network[1])
    folder = model_folder(Path(features))
    return Path(features) if folder is None else folder / _WEIGHTS


def _state(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


def check_same_files(recipe: Recipe, folder: RunDir) -> None:
    """Raise `UserError` if an input file has changed since the run in the folder was started.

    Missing files are ignored: loading them raises an error.
    """
    recorded: dict[str, Any] = folder.run.get("files", {})
    for path, state in file_states(recipe).items():
        if path in recorded and list(recorded[path]) != state:
            raise UserError(
                f"{path} has changed since {folder.path} was started. Restore it, or start over: choose another --out, "
                "or remove that folder."
            )


def check_same_images(folder: RunDir, images: Images) -> None:
    """Raise `UserError` if these are not the training images that the run in the folder was started with."""
    recorded = folder.run.get("data")
    if recorded is not None and recorded["fingerprint"] != images.fingerprint:
        raise UserError(
            f"the images of {recorded['name']} or their labels have changed since {folder.path} was started. Restore "
            "them, or start over: choose another --out, or remove that folder."
        )


def check_unchanged_images(recipe: Recipe, folder: RunDir, context: Context) -> None:
    """Raise `UserError` if the images of a finished run have changed.

    They are loaded only if a file was added, removed or modified. Data that no longer exist are not checked.
    """
    recorded = folder.run.get("data", {})
    try:
        key = current_key(recipe)
    except UserError:
        return
    if recorded.get("key", key) == key:
        return
    context.log(f"files of {recorded['name']} have changed since {folder.path} was made: comparing the images")
    images = (
        load_unlabeled(recipe.data, **read_arguments(recipe, folder))
        if recipe.unlabeled
        else load(**load_arguments(recipe, folder)).train
    )
    check_same_images(folder, images)
    with contextlib.suppress(OSError):  # the folder may be read-only
        folder.update(data={**recorded, "key": key})
