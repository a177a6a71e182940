"""The columns of a table of labels: named by the user, or found by their usual names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from shoestring.config.labels import check_columns
from shoestring.data.formats import named_like_an_image
from shoestring.data.listing import listed
from shoestring.data.tables import Table
from shoestring.errors import UserError

# names of columns, without spaces, dashes and underscores, in the order of preference
_PATHS = ("path", "filepath", "imagepath", "file", "filename", "imagefile", "imagename", "image", "img", "photo")
_PATHS += ("picture", "paths", "files", "images", "imageid", "id")
_LABELS = ("label", "labels", "class", "classname", "target", "category", "y")
_SPLITS = ("split", "datasetsplit", "subset", "partition")


@dataclass(frozen=True)
class Labels:
    """A table (a CSV or Parquet file, or a data frame), and the names of its columns; None: found by usual names."""

    table: Any
    path: str | None = None
    label: str | None = None
    split: str | None = None
    group: str | None = None


def as_labels(
    labels: Any,
    path_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
) -> Labels | None:
    """Return the table with the names of its columns; None without a table, for which no columns may be named."""
    columns = {"path": path_column, "label": label_column, "split": split_column, "group": group_column}
    check_columns(labels=labels, **{f"{what}_column": name for what, name in columns.items()})
    return (
        None if labels is None else Labels(labels, *(name if name is None else str(name) for name in columns.values()))
    )


class Columns(NamedTuple):
    """The names of the columns of a table; None for one that it does not have or that is ignored."""

    path: str
    label: str
    split: str | None
    group: str | None


def find_columns(table: Table, labels: Labels) -> Columns:
    """Return the columns to use. Raises `UserError` for one that does not exist, and for one with two purposes."""
    path = _column(table, "image paths", labels.path, _PATHS, flag="--path-column")
    label = _column(table, "labels", labels.label, _LABELS, flag="--label-column")
    split = None
    if labels.split != "none":
        split = _usual(table, _SPLITS) if labels.split is None else table.find(labels.split, flag="--split-column")
    group = None if labels.group is None else table.find(labels.group, flag="--group-column")
    for one, other in ((path, label), (path, group), (label, split), (label, group)):
        if one == other:
            raise UserError(f"the column '{one}' of {table.name} is named for two purposes: name two columns.")
    return Columns(path, label, split, group)


def _usual(table: Table, names: Sequence[str]) -> str | None:
    """Return the column with the first of these usual names."""
    columns = {re.sub("[-_ ]", "", column).lower(): column for column in reversed(table.columns)}
    return next((columns[name] for name in names if name in columns), None)


def _column(table: Table, what: str, given: str | None, names: Sequence[str], *, flag: str) -> str:
    if given is not None:
        return table.find(given, flag=flag)
    column = _usual(table, names)
    if column is None:
        header = " Its first line must be a header." if any(map(named_like_an_image, table.columns)) else ""
        raise UserError(
            f"{table.name} has no column of {what} such as '{names[0]}', only {listed(table.columns)}: name it with "
            f"{flag}.{header}"
        )
    return column
