"""The model of a run, finished or not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch

from shoestring.config.model_files import model_folder
from shoestring.models.model import Model
from shoestring.runs.model_folders import no_model, usable_folder


def usable_model(run: Path, log: Callable[[str], None]) -> Model:
    """Return the final model of a run, or the last snapshot of an unfinished run, with a log message."""
    folder, finished = usable_folder(run)
    if not finished:
        log(f"{run} is not finished: using the last snapshot of its training")
    return Model.load(folder)


def final_model(run: Path) -> Model:
    """Return the final model of a run, or the one in a model folder. Raises `UserError` if there is none."""
    folder = model_folder(run)
    if folder is None:
        raise no_model(run)
    return Model.load(folder)


def fingerprint(model: Model) -> str:
    """Return a hash of all that predictions depend on: tensors, classes, preprocessing and temperature."""
    digest = hashlib.blake2b(repr((model.classes, model.preprocessing, model.temperature)).encode(), digest_size=16)
    for name, tensor in sorted(model.module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
