"""`shoestring check [DATA]`: what this machine has, and whether the data can be used."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Sequence
from typing import Any

from shoestring.cli.flags import Parser, add_output
from shoestring.cli.process import interruptible
from shoestring.cli.progress import Progress
from shoestring.config.resolve import resolve

_PACKAGES = ("shoestring", "torch", "torchvision", "timm", "scikit-learn", "datasets")


def main(verb: str, words: Sequence[str]) -> int:
    """Run the verb; its exit code."""
    parser = Parser(prog=f"shoestring {verb}", description="Look at data and machine before spending anything.")
    parser.add_argument("data", metavar="DATA", nargs="?", help="what `shoestring run` would be given")
    parser.add_argument("--resolution", default=None, metavar="N", help="side of the square images")
    parser.add_argument("--skip-bad", action="store_true", default=False, help="leave out broken images and list them")
    add_output(parser)
    given = parser.parse_args(words)
    side = resolve(("flags", {"resolution": given.resolution}))[0].resolution
    found: dict[str, Any] = {"machine": _machine()}
    if "data" in given:
        progress = Progress(quiet="quiet" in given)
        found["data"] = _data(given.data, side, given.skip_bad, progress)
        progress.close()
    if "json" in given:
        print(json.dumps(found, indent=1))
        return 0
    from shoestring.cli.show import two_columns

    for rows in found.values():
        two_columns((name, str(value)) for name, value in rows.items())
    return 0


def _machine() -> dict[str, Any]:
    import torch

    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    cuda = torch.cuda.is_available()
    return {
        **versions,
        "device": torch.cuda.get_device_name() if cuda else "mps" if torch.backends.mps.is_available() else "cpu",
        "threads": torch.get_num_threads(),
    }


def _data(source: str, resolution: int | None, skip_bad: bool, progress: Progress) -> dict[str, Any]:
    from shoestring.data import load

    interruptible()
    data = load(
        source,
        resolution=resolution,
        skip_bad=skip_bad,
        progress=lambda done, total: progress.update("load", done / total if total else 0.0, {"images": done}),
    )
    counts = data.train.counts()
    return {
        "train": len(data.train),
        "validation": len(data.validation),
        "test": len(data.test),
        "images": " x ".join(map(str, data.train.shape)),
        "classes": ", ".join(f"{name} {count}" for name, count in zip(data.classes, counts)),
        "smallest class": f"{data.classes[int(counts.argmin())]}, {counts.min()} training images",
        "notes": " ".join(data.notes) or "none",
    }
