"""The files of a saved model, and where a run has its last one; imports neither torch nor numpy."""

from __future__ import annotations

from pathlib import Path

TENSORS_FILE, DESCRIPTION_FILE = "model.safetensors", "model.json"


def model_folder(path: Path) -> Path | None:
    """Return the folder of a run's last model, or `path` itself if it holds a model; None if there is none."""
    folders = (path / "prune", path / "train", path)
    return next((folder for folder in folders if (folder / DESCRIPTION_FILE).exists()), None)
