"""Parquet files in a folder: which split each belongs to, what a data card says, and some images of all of them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shoestring.data.listing import SAMPLE, Item, Items, listed, spread
from shoestring.errors import UserError

_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_GROUPS = 16  # row groups whose images are looked at to choose the resolution
_CARD = 1_000_000  # characters of a data card that are read


def parquet_files(folder: Path) -> list[Path]:
    """The Parquet files of a folder and of its direct sub-folders (the Hub keeps them in `data/`), sorted."""
    found = [*folder.glob("*.parquet"), *folder.glob("[!.]*/*.parquet")]
    return sorted(file for file in found if not file.name.startswith(".") and not file.is_dir())


def with_rows(files: list[Path]) -> list[Path]:
    """The files that are not empty tables, which the reader would stumble over; damaged ones are reported by it."""
    from pyarrow.parquet import read_metadata

    def rows(file: Path) -> int:
        with contextlib.suppress(Exception):
            return read_metadata(file).num_rows
        return 1

    return [file for file in files if rows(file)]


def files_of_splits(files: list[Path], root: Path) -> tuple[dict[str, list[str]], list[str]]:
    """The files of each split by their names, else by those of folders in `root`, and notes on files of no split.

    Where no name tells of a split, all files are of train. `UserError` for a file of two splits, and for two spellings
    of one split, such as `test-*` and `testing-*`.
    """
    found: dict[str, dict[str, list[str]]] = {}
    nameless = []
    for file in files:
        words = _words(file.stem) or (_words(file.parent.name) if file.parent != root else [])
        if len({split for split, _ in words}) > 1:
            raise UserError(f"{file} names {' and '.join(word for _, word in words)}: which split is it of? Rename it.")
        for split, word in words[:1]:
            found.setdefault(split, {}).setdefault(word, []).append(str(file))
        if not words:
            nameless.append(str(file))
    if not found and nameless:
        return {"train": nameless}, []
    for split, by_word in found.items():
        if len(by_word) > 1:
            raise UserError(f"files called {' and '.join(by_word)} both name the {split} images: give them one name.")
    splits = {split: next(iter(by_word.values())) for split, by_word in found.items()}
    return splits, [f"files whose names tell of no split are not used: {listed(nameless)}."] if nameless else []


def _words(name: str) -> list[tuple[str, str]]:
    """The words for splits in a name, each once, and which split they name."""
    parts = dict.fromkeys(re.split(r"[^a-z]+", name.lower()))
    return [(split, word) for word in parts for split, words in _WORDS.items() if word in words]


def card_names(folder: Path, label: str) -> list[str]:
    """The names of classes that README.md gives to the numbers in a column; none when it does not.

    Nothing else of it is heeded: it could name files outside of the folder.
    """
    import yaml

    try:
        text = (folder / "README.md").read_text(encoding="utf-8")[:_CARD]
        info = yaml.safe_load(text.split("---")[1])["dataset_info"]
        features = (info[0] if isinstance(info, list) else info)["features"]
        (names,) = (entry["dtype"]["class_label"]["names"] for entry in features if entry["name"] == label)
        ordered = names if isinstance(names, list) else [names[key] for key in sorted(names, key=int)]
        return [str(name) for name in ordered]
    except Exception:  # no card, or not one of this kind
        return []


def sample_of(files: list[str], image: str) -> Items:
    """Some images of the files, from row groups at equal distances: rows are often sorted by class."""

    def items() -> Iterator[Item]:
        with contextlib.suppress(Exception):  # damaged files are reported when they are read
            for encoded in _some(files, image):
                yield Item((encoded.get("bytes") if isinstance(encoded, dict) else encoded) or b"", 0, "")

    return items


def _some(files: list[str], column: str) -> Iterator[Any]:
    from pyarrow.parquet import ParquetFile

    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(ParquetFile(file)) for file in files]
        groups = [(file, group) for file in opened for group in range(file.num_row_groups)]
        chosen = [groups[index] for index in spread(len(groups), _GROUPS)]
        rows = sum(file.metadata.row_group(group).num_rows for file, group in chosen)
        for file, group in chosen:
            for batch in file.iter_batches(_GROUPS, row_groups=[group], columns=[column]):
                some = spread(batch.num_rows, max(1, SAMPLE * batch.num_rows // rows))
                yield from batch.column(0).take(list(some)).to_pylist()
