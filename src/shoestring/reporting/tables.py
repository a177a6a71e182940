"""Tables of a page, of plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table; pages that show several have a title above and a text below each.

    Cells of the `wide` columns hold long texts, which may wrap.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    text: str = ""
    wide: Sequence[int] = ()
