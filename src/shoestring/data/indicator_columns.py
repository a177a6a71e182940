"""Columns of 0 and 1 in a table: one for each label, of which an image may have any number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shoestring.data.tables import Table
from shoestring.errors import UserError, quoted

_VALUES = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


def find_indicators(table: Table, others: Sequence[str | None]) -> tuple[str, ...]:
    """Return the names of the columns, except `others`, whose cells are 0 or 1 (or false and true).

    Raises `UserError` for a column of which most cells, but not all, are 0 or 1.
    """
    found = []
    for name in dict.fromkeys(table.columns):
        if not name or name in others:
            continue
        cells = table.column(name)
        if 2 * sum(cell.lower() in _VALUES for cell in cells) <= len(cells):
            continue
        _check(table, name, cells, remedy=", or name the columns of labels with --label-column a,b,c.")
        found.append(name)
    return tuple(found)


def read_indicators(table: Table, columns: Sequence[str]) -> NDArray[np.int64]:
    """Return 0 or 1 for each image and each of the columns (N, L). Raises `UserError` for any other cell."""
    values = np.empty((len(table.column(columns[0])), len(columns)), dtype=np.int64)
    for index, name in enumerate(columns):
        cells = table.column(name)
        _check(table, name, cells)
        values[:, index] = [_VALUES[cell.lower()] for cell in cells]
    return values


def _check(table: Table, column: str, cells: Sequence[str], *, remedy: str = ".") -> None:
    """Raise `UserError` unless all cells are 0 or 1."""
    wrong = [(row, cell) for row, cell in enumerate(cells, 1) if cell.lower() not in _VALUES]
    if not wrong:
        return
    row, cell = wrong[0]
    holds = f"holds {quoted(cell)} in row {row:,}" if cell else f"is empty in row {row:,}"
    more = f" and {len(wrong) - 1:,} more" if len(wrong) > 1 else ""
    raise UserError(
        f"the column '{column}' of {table.name} {holds}{more}: with one column per label, expected 0 or 1{remedy}"
    )
