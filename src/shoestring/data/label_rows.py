"""The rows of a table of labels: a file, a label, and possibly a split and a group for each image."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from shoestring.data.indicator_columns import read_indicators
from shoestring.data.indicators import is_one_hot
from shoestring.data.label_columns import Columns
from shoestring.data.listing import normalized
from shoestring.data.parquet import SPLIT_WORDS
from shoestring.data.tables import Table
from shoestring.errors import UserError, quoted

_INTEGER = re.compile(r"-?\d{1,18}(\.0*)?")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


class Row(NamedTuple):
    """One image: its name in the table, its file (None if it is missing), id, label, split and group.

    The label is a class, or 0 or 1 for each label.
    """

    name: str
    file: str | None
    id: str
    label: str | tuple[int, ...]
    split: str
    group: str


class Files:
    """Finds the files that a table names: in the image folder, else beside the table, else anywhere."""

    def __init__(self, root: Path, beside: Path, files: Sequence[str]) -> None:
        self.root, self._folders = root, (str(root), str(beside))
        self._below = {normalized(file): file for file in files}
        stems = Counter(os.path.splitext(file)[0] for file in self._below)  # noqa: PTH122 - Path objects are slow
        self._without_suffix = {
            stem: file
            for name, file in self._below.items()
            if stems[stem := os.path.splitext(name)[0]] == 1  # noqa: PTH122
        }

    def find(self, name: str) -> str | None:
        """Return the path of the file of this name, None if it does not exist."""
        texts = [name, name.replace("\\", "/")] if "\\" in name else [name] if name else []
        paths = (
            os.path.normpath(os.path.join(folder, text))  # noqa: PTH118 - as below
            for text in texts
            for folder in self._folders
        )
        tried = []
        for path in paths:
            if (file := self._below.get(normalized(path))) is not None:
                return file
            if "\0" not in path and os.path.isfile(path):  # noqa: PTH113
                real = os.path.realpath(path)
                return self._below.get(normalized(real), real)
            tried.append(normalized(path))
        return next((self._without_suffix[path] for path in tried if path in self._without_suffix), None)

    def id(self, file: str) -> str:
        """Return the path relative to the image folder, or of a file elsewhere, the absolute path."""
        path = Path(file)
        return (path.relative_to(self.root) if path.is_relative_to(self.root) else path).as_posix()


def read_rows(table: Table, columns: Columns, files: Files) -> list[Row]:
    """Return all rows. Raises `UserError` for labels that are real numbers, and for words that name no split."""
    names = table.column(columns.path)
    labels = _labels(table, columns.label)
    splits = ["train"] * len(names) if columns.split is None else _splits(table, columns.split, names)
    groups = [""] * len(names) if columns.group is None else table.column(columns.group)
    found = map(files.find, names)
    return [
        Row(name, file, name if file is None else files.id(file), label, split, group)
        for name, file, label, split, group in zip(names, found, labels, splits, groups)
    ]


def _labels(table: Table, columns: str | tuple[str, ...]) -> Sequence[str | tuple[int, ...]]:
    """Return the class of each image, or 0 or 1 for each label.

    Columns of which exactly one is 1 for each image are classes, which exclude each other.
    """
    if isinstance(columns, str):
        return _tidy(table, columns, table.column(columns))
    values = read_indicators(table, columns)
    if is_one_hot(values):
        return [columns[index] for index in values.argmax(1)]
    return list(map(tuple, values.tolist()))


def _tidy(table: Table, column: str, labels: list[str]) -> list[str]:
    """Return labels, of which whole numbers lose their decimal point. Raises `UserError` for other numbers."""
    given = [label for label in labels if label]
    if all(map(_INTEGER.fullmatch, given)):
        return [label.partition(".")[0] for label in labels]
    if all(map(_NUMBER.fullmatch, given)):
        real = next(label for label in given if not _INTEGER.fullmatch(label))
        raise UserError(f"the column '{column}' of {table.name} holds real numbers such as {real}: expected classes.")
    return labels


def _splits(table: Table, column: str, names: list[str]) -> list[str]:
    """Return the split of each image. Raises `UserError` for any other word."""
    known = {word: split for split, words in SPLIT_WORDS.items() for word in words}
    cells = table.column(column)
    for cell, name in zip(cells, names):
        if cell.lower() not in known:
            says = f"says {quoted(cell)} of" if cell else "is empty for"
            raise UserError(
                f"the column '{column}' of {table.name} {says} {quoted(name)}: expected train, validation or test (or "
                "ignore the column with --split-column none)."
            )
    return [known[cell.lower()] for cell in cells]


def check_rows(table: Table, columns: Columns, rows: list[Row]) -> None:
    """Raise `UserError` for images without name or label, or listed twice, and for groups in two splits."""
    for column, empty in ((columns.path, lambda row: not row.name), (columns.label, lambda row: row.label == "")):
        if missing := [row.name for row in rows if empty(row)]:
            where = f", the first {quoted(missing[0])}" if missing[0] else ""
            count = f"{len(missing):,} of its {len(rows):,} lines{where}"
            raise UserError(f"the column '{column}' of {table.name} is empty for {count}: fill or remove them.")
    first: dict[str, Row] = {}
    twice = [(first[row.id], row) for row in rows if first.setdefault(row.id, row) is not row]
    if twice:
        one, other = next((pair for pair in twice if pair[0].label != pair[1].label), twice[0])
        first_label, label = (_described(row, columns) for row in (one, other))
        both = f"as {first_label} and " if one.label != other.label else "both times as "
        more = f", and {len(twice) - 1:,} more images are listed again" if len(twice) > 1 else ""
        raise UserError(
            f"{quoted(other.name)} is listed twice in {table.name}, {both}{label}{more}: keep one line for each image."
        )
    split_of: dict[str, str] = {}
    for row in rows:
        if row.group and split_of.setdefault(row.group, row.split) != row.split:
            raise UserError(
                f"group {quoted(row.group)} of the column '{columns.group}' of {table.name} has images in "
                f"{split_of[row.group]} and {row.split}: keep them in one split (or ignore the splits with "
                "--split-column none)."
            )


def _described(row: Row, columns: Columns) -> str:
    """Return the label of a row for a message."""
    if isinstance(row.label, str):
        return quoted(row.label)
    names = [name for name, value in zip(columns.label, row.label) if value]
    return quoted(", ".join(names)) if names else "without labels"


def sorted_labels(labels: set[str]) -> tuple[str, ...]:
    """Return labels in order: integers by their value, others as text."""
    if all(map(_INTEGER.fullmatch, labels)):
        return tuple(sorted(labels, key=lambda label: (float(label), label)))
    return tuple(sorted(labels))
