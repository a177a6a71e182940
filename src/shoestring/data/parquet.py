"""Parquet files in a folder: the split of each, class names from a data card, and a sample of the images."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shoestring.data.listing import SAMPLE_SIZE, Item, Items, evenly_spaced, listed
from shoestring.errors import UserError

SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SAMPLE_GROUPS = 16  # row groups that are sampled to choose the resolution
_MAX_CARD = 1_000_000  # characters of a data card that are read


def parquet_files(folder: Path) -> list[Path]:
    """Return the Parquet files of a folder and of its direct subfolders (`data/` on the Hub), sorted."""
    files = [*folder.glob("*.parquet"), *folder.glob("[!.]*/*.parquet")]
    return sorted(file for file in files if not file.name.startswith(".") and not file.is_dir())


def with_rows(files: list[Path]) -> list[Path]:
    """Return the files that are not empty tables, which the reader cannot handle; it reports damaged files."""
    from pyarrow.parquet import read_metadata

    def rows(file: Path) -> int:
        with contextlib.suppress(Exception):
            return read_metadata(file).num_rows
        return 1

    return [file for file in files if rows(file)]


def files_of_splits(files: list[Path], root: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Return the files of each split, by file name or else by folder name below `root`, and notes on other files.

    If no name contains a split, all files are of train. Raises `UserError` for a file of two splits, and for two
    spellings of one split, such as `test-*` and `testing-*`.
    """
    by_split: dict[str, dict[str, list[str]]] = {}
    unmatched = []
    for file in files:
        words = _split_words(file.stem) or (_split_words(file.parent.name) if file.parent != root else [])
        if len({split for split, _ in words}) > 1:
            names = " and ".join(word for _, word in words)
            raise UserError(f"{file} names {names}: which split does it belong to? Rename it.")
        for split, word in words[:1]:
            by_split.setdefault(split, {}).setdefault(word, []).append(str(file))
        if not words:
            unmatched.append(str(file))
    if not by_split and unmatched:
        return {"train": unmatched}, []
    for split, by_word in by_split.items():
        if len(by_word) > 1:
            raise UserError(f"files called {' and '.join(by_word)} both name the {split} images: give them one name.")
    splits = {split: next(iter(by_word.values())) for split, by_word in by_split.items()}
    return splits, [f"files without a split in their names are not used: {listed(unmatched)}."] if unmatched else []


def _split_words(name: str) -> list[tuple[str, str]]:
    """Return pairs (split, word) for the words in a name that denote a split, each once."""
    parts = dict.fromkeys(re.split(r"[^a-z]+", name.lower()))
    return [(split, word) for word in parts for split, words in SPLIT_WORDS.items() if word in words]


def card_names(folder: Path, label: str) -> list[str]:
    """Return the class names of an integer column from the data card README.md, if it has any.

    The rest of the card is ignored: it could name files outside the folder.
    """
    import yaml

    try:
        text = (folder / "README.md").read_text(encoding="utf-8")[:_MAX_CARD]
        info = yaml.safe_load(text.split("---")[1])["dataset_info"]
        features = (info[0] if isinstance(info, list) else info)["features"]
        (names,) = (entry["dtype"]["class_label"]["names"] for entry in features if entry["name"] == label)
        ordered = names if isinstance(names, list) else [names[key] for key in sorted(names, key=int)]
        return [str(name) for name in ordered]
    except Exception:  # no card, or one without such names
        return []


def encoded_bytes(value: Any) -> bytes:
    """Return the encoded image in a cell, which is binary or has a field `bytes`; empty if there is none."""
    data = value.get("bytes") if isinstance(value, dict) else value
    return data or b""


def sample_items(files: list[str], image: str) -> Items:
    """Return a sample of the images, from evenly spaced row groups: rows are often sorted by class."""

    def items() -> Iterator[Item]:
        with contextlib.suppress(Exception):  # damaged files are reported when they are read
            for value in _sample_column(files, image):
                yield Item(encoded_bytes(value), 0, "")

    return items


def _sample_column(files: list[str], column: str) -> Iterator[Any]:
    from pyarrow.parquet import ParquetFile

    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(ParquetFile(file)) for file in files]
        groups = [(file, group) for file in opened for group in range(file.num_row_groups)]
        sample = [groups[index] for index in evenly_spaced(len(groups), _SAMPLE_GROUPS)]
        rows = sum(file.metadata.row_group(group).num_rows for file, group in sample)
        for file, group in sample:
            for batch in file.iter_batches(_SAMPLE_GROUPS, row_groups=[group], columns=[column]):
                indices = evenly_spaced(batch.num_rows, max(1, SAMPLE_SIZE * batch.num_rows // rows))
                yield from batch.column(0).take(list(indices)).to_pylist()
