"""Names that come from files and data sets, made harmless for what they are written into: terminal, Markdown, CSV.

A class or a file may be called anything that a file system or a data set holds: escape sequences that move the cursor,
marks that turn the direction of writing around, bytes that are no text, HTML, a formula for a spreadsheet.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

# C0 and C1 control characters, line and paragraph separators, marks of direction, the byte-order mark, lone surrogates
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_MARKDOWN = re.compile(r"[\\`*\[\]<>|&~#!$]|(?<![^\W_])_|_(?![^\W_])|(?<=http):|(?<=https):|(?<=ftp):|(?<=www)\.", re.I)
_FORMULA = re.compile("[=+\\-@\uff1d\uff0b\uff0d\uff20]")  # the full-width ones count as well
_HARMFUL = re.compile(rf"{_INVISIBLE.pattern}|^\s*{_FORMULA.pattern}")


def visible(value: object) -> str:
    """The text on one line, for a terminal: what is no printable character is written as its escape, `\\x1b`."""
    return _INVISIBLE.sub(lambda found: found[0].encode("unicode_escape", "backslashreplace").decode(), str(value))


def markdown(value: object) -> str:
    """The text as it is read, for a line or a table cell of Markdown: nothing in it is a link, HTML or emphasis."""
    return _MARKDOWN.sub(lambda found: _ENTITIES.get(found[0], "\\" + found[0]), visible(value))


_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}  # not every renderer takes a backslash before these


def csv_cell(value: Any) -> Any:
    """A value for a CSV file: text on one line, with an apostrophe before what a spreadsheet would take for a formula.

    Text that is a number (`-1`) stays as it is, as do other values.
    """
    if not isinstance(value, str) or not _HARMFUL.search(value):  # as almost all of a million cells
        return value
    text = visible(value)
    return f"'{text}" if _FORMULA.match(text.lstrip()) and not _is_number(text) else text


def write_csv(out: TextIO, header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table, every cell made harmless, to a file opened with `newline=""`."""
    table = csv.writer(out)
    table.writerows([csv_cell(cell) for cell in row] for row in (header, *rows))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
