"""The files of a saved model, and where a run has its last one; imports neither torch nor numpy."""

from __future__ import annotations

from pathlib import Path

TENSORS_FILE, DESCRIPTION_FILE = "model.safetensors", "model.json"
SNAPSHOTS = "snapshot"  # folder of the snapshots of an unfinished training, which are numbered


def model_folder(path: Path) -> Path | None:
    """Return the folder of a run's last model, or `path` itself if it holds a model; None if there is none."""
    folders = (path / "prune", path / "train", path)
    return next((folder for folder in folders if (folder / DESCRIPTION_FILE).exists()), None)


def snapshots(folder: Path) -> list[Path]:
    """Return the snapshots of the training in a folder, oldest first."""
    within = folder / SNAPSHOTS
    numbered = [path for path in within.iterdir() if path.name.isdigit()] if within.is_dir() else []
    return sorted(numbered, key=lambda path: int(path.name))


def newest_snapshot(folder: Path) -> Path | None:
    """Return the last snapshot of the training in a folder, if there is one."""
    return next(reversed(snapshots(folder)), None)
