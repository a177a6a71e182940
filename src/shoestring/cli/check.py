"""`shoestring check [DATA]`: report what this machine provides, and whether the data can be used."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator, Sequence
from typing import Any

from shoestring.cli.flags import Parser, add_labels, add_output
from shoestring.cli.process import handle_signals
from shoestring.cli.progress import Progress
from shoestring.config.fit import DEFAULT_FIT
from shoestring.config.labels import LABEL_FIELDS
from shoestring.config.layers import FLAGS, merge

_PACKAGES = ("shoestring", "torch", "torchvision", "timm", "scikit-learn", "datasets")


def main(verb: str, words: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = Parser(prog=f"shoestring {verb}", description="Check the machine and the data before spending a budget.")
    parser.add_argument("data", metavar="DATA", nargs="?", help="data, as for `shoestring run`")
    parser.add_argument("--resolution", default=None, metavar="N", help="side of the square images in pixels")
    parser.add_argument("--fit", default=DEFAULT_FIT, metavar="FIT", help="crop, squash or pad rectangles to squares")
    parser.add_argument("--skip-bad", action="store_true", default=False, help="skip images that cannot be read")
    add_labels(parser)
    add_output(parser)
    args = parser.parse_args(words)
    labels = {name: value for name, value in vars(args).items() if name in LABEL_FIELDS}
    recipe = merge((FLAGS, {"resolution": args.resolution, "fit": args.fit, **labels}))[0]
    size = {"resolution": recipe.resolution, "fit": recipe.fit}
    result: dict[str, Any] = {"machine": _machine()}
    if "data" in args:
        progress = Progress(quiet="quiet" in args)
        try:
            result["data"] = _data(args.data, progress, **size, skip_bad=args.skip_bad, **labels)
        finally:
            progress.close()
    if "json" in args:
        print(json.dumps(result, indent=1))
        return 0
    from shoestring.cli.show import two_columns

    for rows in result.values():
        two_columns(row for name, value in rows.items() for row in _lines(name, value))
    return 0


def _lines(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the rows of a value; a list has a row for each entry."""
    entries = value or ["none"] if isinstance(value, list) else [value]
    for number, entry in enumerate(entries):
        yield "" if number else name, str(entry)


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


def _data(source: str, progress: Progress, **settings: Any) -> dict[str, Any]:
    from shoestring.data import load

    handle_signals()
    data = load(source, **settings, progress=progress.loading)
    rarest = "smallest" if data.train.has_one_class_each else "rarest"
    counts, task = data.train.counts(), data.train.task
    return {
        "train": len(data.train),
        "validation": len(data.validation),
        "test": len(data.test),
        "images": " x ".join(map(str, data.train.shape)),
        task.nouns: ", ".join(f"{name} {count}" for name, count in zip(data.classes, counts)),
        f"{rarest} {task.noun}": f"{data.classes[int(counts.argmin())]}, {counts.min()} training images",
        "notes": list(data.notes),
    }
