"""The model of a run, finished or not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch

from shoestring.config.model_files import model_folder
from shoestring.errors import UserError
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


def fingerprint(model: Model) -> str:
    """Return a hash of all that predictions depend on: tensors, classes, preprocessing and temperature."""
    digest = hashlib.blake2b(repr((model.classes, model.preprocessing, model.temperature)).encode(), digest_size=16)
    for name, tensor in sorted(model.module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
