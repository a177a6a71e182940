"""One fold of a cross-validation, and groups of images by their file names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from shoestring.errors import UserError, quoted


@dataclass(frozen=True)
class Fold:
    """The fold with this number, from 1, of `count` folds."""

    number: int
    count: int

    @classmethod
    def parse(cls, given: Any) -> Fold:
        """Parse '2/5'. Raises `UserError` for anything else."""
        if isinstance(given, Fold):
            return given
        match = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", str(given), re.ASCII)
        number, count = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= number <= count or count < 2:
            raise UserError(f"{quoted(given)} is not a fold: write its number and that of all folds, such as 2/5.")
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def parse_pattern(given: Any) -> str:
    """Return a regular expression as text. Raises `UserError` if it is none."""
    try:
        re.compile(str(given))
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(f"--group {quoted(given)} is not a regular expression: {error}.") from None
    return str(given)
