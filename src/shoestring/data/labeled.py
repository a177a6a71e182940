"""A folder of images whose labels are in a table beside it: a CSV or Parquet file, or a data frame."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from shoestring.data.formats import looks_like_an_image
from shoestring.data.indicators import EXCLUSIVE
from shoestring.data.label_columns import Columns, Labels, find_columns
from shoestring.data.label_rows import Files, Row, check_rows, read_rows, sorted_labels
from shoestring.data.listing import SAMPLE_SIZE, Item, Items, Listing, Source, evenly_spaced, files_key, listed
from shoestring.data.parquet import SPLIT_WORDS
from shoestring.data.scan import files_below
from shoestring.data.tables import Table, read_table
from shoestring.errors import UserError, quoted


def labeled_folder(folder: Path, labels: Labels) -> Source:
    """Return the images of a folder that a table lists, with its labels and, if it has them, its splits and groups.

    Paths in the table are absolute, or relative to the folder or to the table's own; backslashes are read as slashes,
    and suffixes may be missing. Images that it does not list are left out, with a note. Raises `UserError` if there is
    no such table or column, for images without label or listed twice, and for groups in two splits. Labels are classes
    in one column, or columns of 0 and 1.
    """
    root = folder.resolve()
    table = read_table(labels.table)
    columns = find_columns(table, labels)
    files, _ = files_below(root)
    rows = read_rows(table, columns, Files(root, table.folder, files))
    check_rows(table, columns, rows)
    digest = hashlib.blake2b(f"{table.key} {files_key(files)}".encode(), digest_size=16)
    digest.update(files_key(sorted({row.file for row in rows if row.file} - set(files))).encode())

    def read() -> Listing:
        return _listing(root, table, columns, rows, files)

    location = f"{root} labeled by {table.location}, {columns[:3]}"
    groups = None if columns.group is None else {row.id: row.group for row in rows if row.group}
    return Source(root.name, location, digest.hexdigest(), read, groups)


def _listing(root: Path, table: Table, columns: Columns, rows: list[Row], files: list[str]) -> Listing:
    by_split = {split: [row for row in rows if row.split == split] for split in SPLIT_WORDS}
    by_split = {split: found for split, found in by_split.items() if found}
    classes = _classes(table, by_split) if isinstance(columns.label, str) else columns.label
    splits = {split: _items(root, found, classes) for split, found in by_split.items()}
    first = next(iter(by_split.values()))
    sample = [first[index] for index in evenly_spaced(len(first), SAMPLE_SIZE)]
    without = f"{table.name} lists no images of the train split, only {', '.join(by_split)}."
    notes = _notes(root, table, columns, rows, files)
    missing = [row.name for row in rows if row.file is None]
    problem = (
        f"{len(missing):,} of the {len(rows):,} images that {table.name} lists do not exist, the first "
        f"{quoted(missing[0])}: paths are relative to {root} or to the file of labels, or absolute. Or skip them with "
        "--skip-bad."
        if missing
        else ""
    )
    return Listing(classes, splits, len(rows), notes, _items(root, sample, classes), without, problem)


def _classes(table: Table, by_split: dict[str, list[Row]]) -> tuple[str, ...]:
    """Return the labels of train, in order. Raises `UserError` for a label of another split that train does not have.

    Without a train split, all labels are returned.
    """
    found = {split: {str(row.label) for row in rows} for split, rows in by_split.items()}
    labels = found["train"] if "train" in found else {label for own in found.values() for label in own}
    for split, rows in by_split.items():
        for row in rows:
            if row.label not in labels:
                raise UserError(
                    f"label {quoted(row.label)} in the {split} split of {table.name} never occurs in its train split, "
                    f"which has {listed(sorted_labels(labels))}: correct it, or add training images."
                )
    return sorted_labels(labels)


def _items(root: Path, rows: Sequence[Row], classes: tuple[str, ...]) -> Items:
    index = {name: position for position, name in enumerate(classes)}

    def items() -> Iterator[Item]:
        for row in rows:
            label = index[row.label] if isinstance(row.label, str) else row.label
            yield Item(Path(row.file or root / row.name), label, row.id)

    return items


def _notes(root: Path, table: Table, columns: Columns, rows: list[Row], files: list[str]) -> tuple[str, ...]:
    """Return notes on the columns that are used and on images that the table does not list."""
    labels = (columns.label,) if isinstance(columns.label, str) else columns.label
    used = {"images": (columns.path,), "labels": labels, "splits": (columns.split,), "groups": (columns.group,)}
    names = {what: [f"'{name}'" for name in own if name] for what, own in used.items()}
    parts = (f"{what} in {listed(own)}" for what, own in names.items() if own)
    notes = [f"columns of {table.name}: {', '.join(parts)}."]
    if len(labels) > 1 and isinstance(rows[0].label, str):
        notes.append(EXCLUSIVE)
    named = {row.file for row in rows}
    others = [file for file in files if file not in named and looks_like_an_image(Path(file))]
    if others:
        what = "image" if len(others) == 1 else "images"
        ids = [Path(file).relative_to(root).as_posix() for file in others]
        notes.append(f"left out {len(others):,} {what} that {table.name} does not list: {listed(ids, 5)}.")
    return tuple(notes)
