"""Escaping of names from files and data sets for the terminal, Markdown and CSV.

The names of classes and files may contain anything: terminal escape sequences, bidirectional control characters,
undecodable bytes, HTML, or spreadsheet formulas.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, TextIO

# C0 and C1 control characters, line and paragraph separators, bidirectional controls, byte-order mark, surrogates
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_MARKDOWN = re.compile(r"[\\`*\[\]<>|&~#!$]|(?<![^\W_])_|_(?![^\W_])|(?<=http):|(?<=https):|(?<=ftp):|(?<=www)\.", re.I)
_FORMULA = re.compile("[=+\\-@\uff1d\uff0b\uff0d\uff20]")  # and their full-width forms
_UNSAFE = re.compile(rf"{_INVISIBLE.pattern}|^\s*{_FORMULA.pattern}")


def printable(value: object) -> str:
    """Return the text on one line for a terminal, with nonprintable characters as escapes such as `\\x1b`."""
    return _INVISIBLE.sub(lambda match: match[0].encode("unicode_escape", "backslashreplace").decode(), str(value))


def markdown(value: object) -> str:
    """Escape the text for a line or a table cell of Markdown, so that no part becomes a link, HTML or emphasis."""
    return _MARKDOWN.sub(lambda match: _ENTITIES.get(match[0], "\\" + match[0]), printable(value))


def html(value: object) -> str:
    """Escape the text for HTML, also in quoted attributes; nonprintable characters are shown as escapes."""
    return escape(printable(value))


def html_table(header: Sequence[object], rows: Iterable[Sequence[object]], *, caption: str = "") -> str:
    """Render an HTML table of plain-text cells."""
    head = "".join(f"<th>{html(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{html(cell)}</td>' for cell in row)}</tr>" for row in rows)
    title = f"<caption>{html(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}  # not every renderer supports a backslash before these


def csv_cell(value: Any) -> Any:
    """Return a value for a CSV file: text on one line, with an apostrophe before a spreadsheet formula.

    Numbers, also as text (`-1`), and other values are unchanged.
    """
    if not isinstance(value, str) or not _UNSAFE.search(value):  # almost all cells
        return value
    text = printable(value)
    return f"'{text}" if _FORMULA.match(text.lstrip()) and not _is_number(text) else text


def write_csv(out: TextIO, header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table with escaped cells to a file opened with `newline=""`."""
    table = csv.writer(out)
    table.writerows([csv_cell(cell) for cell in row] for row in (header, *rows))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
