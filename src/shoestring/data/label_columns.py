"""The columns of a table of labels: named by the user, or found by their usual names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from shoestring.config.labels import check_columns, split_names
from shoestring.data.formats import named_like_an_image
from shoestring.data.indicator_columns import find_indicators
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
    """A table (a CSV or Parquet file, or a data frame), and the names of its columns; None: found by usual names.

    `label` is a column of classes, or several columns of 0 and 1.
    """

    table: Any
    path: str | None = None
    label: str | tuple[str, ...] | None = None
    split: str | None = None
    group: str | None = None


def as_labels(
    labels: Any,
    path_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
) -> Labels | None:
    """Return the table with the names of its columns; None without a table, for which no columns may be named."""
    columns = {"path": path_column, "label": label_column, "split": split_column, "group": group_column}
    check_columns(labels=labels, **{f"{what}_column": name for what, name in columns.items()})
    if labels is None:
        return None
    path, split, group = (name if name is None else str(name) for name in (path_column, split_column, group_column))
    if label_column is not None and not isinstance(label_column, str):
        label_column = tuple(map(str, label_column))
    return Labels(labels, path, label_column, split, group)


class Columns(NamedTuple):
    """The names of the columns of a table; None for one that it does not have or that is ignored.

    `label` is a column of classes, or several columns of 0 and 1, one for each label.
    """

    path: str
    label: str | tuple[str, ...]
    split: str | None
    group: str | None


def find_columns(table: Table, labels: Labels) -> Columns:
    """Return the columns to use. Raises `UserError` for one that does not exist, and for one with two purposes."""
    path = _column(table, "image paths", labels.path, _PATHS, flag="--path-column")
    split = None
    if labels.split != "none":
        split = _usual(table, _SPLITS) if labels.split is None else table.find(labels.split, flag="--split-column")
    group = None if labels.group is None else table.find(labels.group, flag="--group-column")
    label = _label(table, labels.label, (path, split, group))
    own = (label,) if isinstance(label, str) else label
    named = [path, *own, *filter(None, (group,))]
    if twice := [name for name in named if named.count(name) > 1 or (name in own and name == split)]:
        raise UserError(f"the column '{twice[0]}' of {table.name} is named for two purposes: name two columns.")
    return Columns(path, label, split, group)


def _label(table: Table, given: str | Sequence[str] | None, others: Sequence[str | None]) -> str | tuple[str, ...]:
    """Return the column of classes, or the columns of 0 and 1: as named, else of a usual name, else all there are."""
    names = [given] if isinstance(given, str) and given in table.columns else split_names(given)
    if len(names) > 1:
        return tuple(table.find(name, flag="--label-column") for name in names)
    if names or _usual(table, _LABELS) is not None:
        return _column(table, "labels", next(iter(names), None), _LABELS, flag="--label-column")
    columns = find_indicators(table, others)
    if len(columns) > 1:
        return columns
    hint = " Or give each label a column of 0 and 1."
    return _column(table, "labels", None, _LABELS, flag="--label-column", hint=hint)


def _usual(table: Table, names: Sequence[str]) -> str | None:
    """Return the column with the first of these usual names."""
    columns = {re.sub("[-_ ]", "", column).lower(): column for column in reversed(table.columns)}
    return next((columns[name] for name in names if name in columns), None)


def _column(table: Table, what: str, given: str | None, names: Sequence[str], *, flag: str, hint: str = "") -> str:
    if given is not None:
        return table.find(given, flag=flag)
    column = _usual(table, names)
    if column is None:
        header = " Its first line must be a header." if any(map(named_like_an_image, table.columns)) else ""
        raise UserError(
            f"{table.name} has no column of {what} such as '{names[0]}', only {listed(table.columns)}: name it with "
            f"{flag}.{header}{hint}"
        )
    return column
