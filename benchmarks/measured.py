"""Results: rows of a JSON file, each saved at once, and tables written into a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shoestring.runtime.files import write_text

RESULTS = Path(__file__).parent / "results"
Row = dict[str, Any]


class Rows:
    """The rows of a results file, identified by the values of these keys; one line each."""

    def __init__(self, file: Path | str, key: Sequence[str]) -> None:
        self.file, self.key = RESULTS / file, tuple(key)

    def read(self) -> list[Row]:
        return json.loads(self.file.read_text()) if self.file.exists() else []

    def have(self, row: Row) -> bool:
        """Return whether a row with the same key exists."""
        return any(self._same(row, other) for other in self.read())

    def put(self, row: Row) -> None:
        """Add the row, or replace the one with its key. The file is replaced atomically."""
        rows = [*(other for other in self.read() if not self._same(row, other)), row]
        self.file.parent.mkdir(exist_ok=True)
        write_text(self.file, "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")

    def _same(self, one: Row, other: Row) -> bool:
        return all(one[name] == other[name] for name in self.key)


def fill(page: Path, **blocks: str) -> None:
    """Replace the text between the markers of each block in a page."""
    text = page.read_text()
    for name, content in blocks.items():
        before, start, rest = text.partition(f"<!-- {name} -->")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not end:
            raise ValueError(f"{page} has no markers for {name}: add a line <!-- {name} --> and later <!-- /{name} -->")
        text = f"{before}{start}\n\n{content.strip()}\n\n{end}{after}" if content else f"{before}{start}\n{end}{after}"
    page.write_text(text)
