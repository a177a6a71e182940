"""Tables with one line for each image: CSV and Parquet files, and data frames. All cells are read as text."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

from shoestring.config.paths import expanded
from shoestring.data.listing import files_key, normalized
from shoestring.errors import UserError, unknown
from shoestring.runtime.extras import require

_SEPARATORS = ",;\t|"
_WORKBOOKS = (".xlsx", ".xls", ".ods", ".numbers")


@dataclass(frozen=True)
class Table:
    """A table that is read column by column.

    `name` is what messages call it, `location` identifies it, `folder` is where its relative paths may start, and `key`
    changes with its content. `read` returns the cells of the column at an index.
    """

    name: str
    location: str
    folder: Path
    key: str
    columns: tuple[str, ...]
    read: Callable[[int], list[Any]]

    def column(self, name: str) -> list[str]:
        """Return the cells of a column as text without surrounding spaces; a missing value is empty.

        Raises `UserError` if two columns have this name, and for cells such as lists.
        """
        if self.columns.count(name) > 1:
            raise UserError(f"more than one column of {self.name} is called '{name}': rename one.")
        return [self._text(cell, name) for cell in self.read(self.columns.index(name))]

    def find(self, name: str, *, flag: str) -> str:
        """Return the column that a user names, in any case. Raises `UserError` with a suggestion if there is none."""
        if name in self.columns:
            return name
        matches = [column for column in self.columns if column.lower() == name.strip().lower()]
        if not matches:
            raise unknown(f"column of {self.name}", name, filter(None, self.columns), hint=f"({flag})")
        return matches[0]

    def _text(self, cell: Any, column: str) -> str:
        cell = cell.item() if hasattr(cell, "item") else cell  # a NumPy scalar
        if is_missing(cell):
            return ""
        if isinstance(cell, float) and cell.is_integer():  # integers beside missing values
            cell = int(cell)
        if not isinstance(cell, str | int | float | os.PathLike):
            raise UserError(
                f"the column '{column}' of {self.name} holds values of type {type(cell).__name__}: expected one text "
                "or number for each image."
            )
        return normalized(cell).strip()


def is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, or the missing value of another library."""
    number = isinstance(value, float) and isnan(value)
    return number or value is None or type(value).__name__ in ("NAType", "NaTType")


def read_table(table: Any) -> Table:
    """Open a CSV or Parquet file, or a data frame (pandas, Polars).

    Raises `UserError` for a file that is missing, empty, neither of both, or not text in UTF-8, for a line with more
    cells than the header, and without any line below it.
    """
    if hasattr(table, "columns") and hasattr(table, "__getitem__"):
        return _frame(table)
    if not isinstance(table, str | os.PathLike):
        raise UserError(f"labels is a {type(table).__name__}: expected a CSV or Parquet file, or a data frame.")
    file = expanded(table)
    if file.is_dir() or not file.exists():
        problem = "a folder" if file.is_dir() else "missing"
        raise UserError(f"the file of labels {table} is {problem}: expected a CSV or Parquet file.")
    if file.suffix.lower() in _WORKBOOKS:
        raise UserError(f"{table} is a spreadsheet: export it as CSV in UTF-8.")
    columns, read = _parquet(file) if file.suffix.lower() in (".parquet", ".pq") else _csv(file)
    return Table(str(table), str(file.resolve()), file.parent.resolve(), files_key([file]), columns, read)


def _frame(frame: Any) -> Table:
    columns = tuple(str(name).strip() for name in frame.columns)
    names = list(frame.columns)
    if not len(frame):
        raise UserError("the data frame of labels is empty: expected a row for each image.")
    digest = hashlib.blake2b(digest_size=16)
    for name in names:
        if names.count(name) == 1:  # otherwise an error if it is used
            digest.update(repr((name, [str(cell) for cell in frame[name]])).encode("utf-8", "surrogatepass"))
    key = digest.hexdigest()
    return Table(
        "the data frame", f"data frame {key}", Path.cwd(), key, columns, lambda index: list(frame[names[index]])
    )


def _parquet(file: Path) -> tuple[tuple[str, ...], Callable[[int], list[Any]]]:
    parquet = require("pyarrow.parquet", what=f"reading {file}", extra="hub")

    def opened(read: Callable[[Any], Any]) -> Any:
        try:
            with parquet.ParquetFile(file) as content:
                return read(content)
        except Exception as error:  # the reader has no common base class of errors
            raise UserError(f"cannot read {file} as Parquet: {' '.join(str(error).split())}") from None

    names, rows = opened(lambda content: (content.schema_arrow.names, content.metadata.num_rows))
    if not rows:
        raise UserError(f"{file} has no rows: expected one for each image.")

    def read(index: int) -> list[Any]:
        return opened(lambda content: content.read(columns=[names[index]]).column(0).to_pylist())

    return tuple(name.strip() for name in names), read


def _csv(file: Path) -> tuple[tuple[str, ...], Callable[[int], list[Any]]]:
    """Read a CSV file, separated by commas, semicolons, tabs or vertical bars: whichever divides its header most."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeError:
        raise UserError(f"{file} is not text in UTF-8: save it as CSV in UTF-8.") from None
    except OSError as error:
        raise UserError(f"cannot read {file}: {(error.strerror or str(error)).lower()}.") from None
    rows = _rows(file, text)
    if not rows:
        raise UserError(f"{file} is empty: expected a header such as path,label, and a line for each image.")
    header = rows.pop(0)
    if not rows:
        raise UserError(f"{file} has a header, and no line below it: expected one for each image.")
    return tuple(header), lambda index: [row[index] if index < len(row) else "" for row in rows]


def _rows(file: Path, text: str) -> list[list[str]]:
    """Return the cells of all lines that are not empty. Raises `UserError` for a line longer than the header."""
    rows: list[list[str]] = []
    first = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader([first])
    try:
        separator = max(_SEPARATORS, key=lambda character: len(next(csv.reader([first], delimiter=character))))
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
        for cells in reader:
            row = [cell.strip() for cell in cells]
            if rows and any(row[len(rows[0]) :]):
                raise UserError(
                    f"line {reader.line_num} of {file} has {len(row)} cells, and its header has {len(rows[0])}: put "
                    "quotation marks around cells that contain the separator."
                )
            if any(row):
                rows.append(row)
    except csv.Error as error:
        raise UserError(
            f"cannot read line {reader.line_num} of {file}: {error}. Is a quotation mark missing?"
        ) from None
    return rows
