"""The rows of predictions: in memory, or in a file that an interrupted command continues and that ends as CSV."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shoestring.errors import UserError
from shoestring.escaping import write_csv
from shoestring.runs.prediction_rows import Labeling, Row
from shoestring.runtime.files import atomic_write


class PredictionTable:
    """Rows of these images, as they are predicted.

    With a CSV file, each batch is appended to `FILE.partial`. After a kill, the same command continues from it if the
    labeling and the `key` of the model are the same. `finish` writes the CSV file and removes the partial one. With
    `on_row` and without a CSV file, rows are passed on and not kept.
    """

    def __init__(
        self,
        images: list[str],
        labeling: Labeling,
        *,
        csv: Path | None = None,
        key: str = "",
        on_row: Callable[[Row], None] | None = None,
    ) -> None:
        self._images, self._labeling, self._csv, self._on_row = images, labeling, csv, on_row
        self._rows: dict[str, Row] = {}
        self.added, self.resumed, self.unknown = 0, 0, 0
        if csv is not None:
            self._partial = csv.with_name(f"{csv.name}.partial")
            self._open({"model": key, "top": labeling.top, "unknown_below": labeling.unknown_below})

    @property
    def left(self) -> list[str]:
        """Images without a row."""
        return [image for image in self._images if image not in self._rows]

    def add(self, rows: list[Row]) -> None:
        """Add the rows of a batch."""
        self.added += len(rows)
        self.unknown += sum(row.unknown for row in rows)
        for row in rows if self._on_row is not None else ():
            assert self._on_row is not None
            self._on_row(row)
        if self._csv is not None or self._on_row is None:
            self._rows |= {row.image: row for row in rows}
        if self._csv is not None:
            with self._partial.open("ab") as out:
                out.write(b"".join(json.dumps(row).encode() + b"\n" for row in rows))

    def finish(self, errors: Mapping[str, str]) -> list[Row]:
        """Return all rows in the order of the images, and write the CSV file, with the errors of other images."""
        rows = [self._rows[image] for image in self._images if image in self._rows]
        if self._csv is None:
            return rows
        if rows:
            lines = (
                self._labeling.cells(self._rows[image])
                if image in self._rows
                else self._labeling.cells_of_error(image, errors[image])
                for image in self._images
            )
            with atomic_write(self._csv) as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
                write_csv(out, self._labeling.header, lines)
        self._partial.unlink(missing_ok=True)
        return rows

    def _open(self, settings: dict[str, Any]) -> None:
        """Read the rows of an interrupted command, or start the file."""
        self._partial.parent.mkdir(parents=True, exist_ok=True)
        if not self._partial.exists():
            self._partial.write_bytes(json.dumps(settings).encode() + b"\n")
            return
        lines = self._partial.read_bytes().split(b"\n")[:-1]  # a last line without an end was cut off
        if not lines or _parsed(lines[0]) != settings:
            raise UserError(
                f"{self._partial} holds unfinished predictions of another model or with other options: choose another "
                "--csv, or remove it."
            )
        wanted = set(self._images)
        rows = [row for line in lines[1:] if (row := _row(_parsed(line))) is not None and row.image in wanted]
        self._rows = {row.image: row for row in rows}
        self.resumed, self.unknown = len(self._rows), sum(row.unknown for row in self._rows.values())
        with self._partial.open("r+b") as file:
            file.truncate(sum(len(line) + 1 for line in lines))


def _parsed(line: bytes) -> Any:
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(line)
    return None


def _row(value: Any) -> Row | None:
    if not isinstance(value, list) or len(value) != len(Row._fields):
        return None
    image, classes, unknown, probabilities = value
    return Row(image, [(name, probability) for name, probability in classes], unknown, probabilities)
