"""The fields of a recipe that name a table of labels and its columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from shoestring.config.fields import Section, option, path
from shoestring.errors import UserError


@dataclass(frozen=True)
class LabelTable(Section):
    """A table of image paths and labels, beside a folder of images."""

    labels: str | None = path(
        "CSV or Parquet file of image paths and labels, if the folders are not classes; paths are absolute, or "
        "relative to the image folder or to this file"
    )
    path_column: str | None = option("column of image paths in --labels (default: path, file, filename, image, ...)")
    label_column: str | None = option(
        "column of labels in --labels (default: label, class, target, category, ...), or several columns of 0 and 1, "
        "one for each label: cat,dog (default, if there is no column of labels: all columns of 0 and 1)"
    )
    split_column: str | None = option(
        "column in --labels of the split: train, validation or test (default: split, if there is one; none: ignore it)"
    )
    group_column: str | None = option(
        "column in --labels of patients, bursts, videos, ...: images of one group are never in two splits"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_columns(**{name: getattr(self, name) for name in LABEL_FIELDS})


LABEL_FIELDS = tuple(field.name for field in fields(LabelTable))


def split_names(columns: str | Sequence[str] | None) -> list[str]:
    """Return the names of columns from 'cat,dog' or a sequence; none for None."""
    names = columns.split(",") if isinstance(columns, str) else columns or ()
    return [name.strip() for name in names if name.strip()]


def check_columns(*, labels: Any, **columns: str | Sequence[str] | None) -> None:
    """Raise `UserError` for names of columns without a table that has them."""
    named = [name for name, column in columns.items() if column is not None]
    if labels is None and named:
        raise UserError(f"--{named[0].replace('_', '-')} names a column of a table: add --labels FILE.")
