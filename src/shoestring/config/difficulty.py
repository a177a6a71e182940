"""Difficulty range as users write it: easiest:0.2, hardest:0.1 or middle:0.5."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from shoestring.errors import UserError, unknown

_KINDS = ("easiest", "hardest", "middle")


@dataclass(frozen=True)
class Difficulty:
    """The easiest, hardest or middle fraction of the images."""

    kind: str
    fraction: float
    text: str = field(compare=False)

    @classmethod
    def parse(cls, given: Difficulty | str) -> Difficulty:
        """Parse 'easiest:0.2'. Raises `UserError` for anything else."""
        if isinstance(given, Difficulty):
            return given
        kind, colon, fraction = given.partition(":")
        if kind not in _KINDS:
            raise unknown("difficulty range", kind, _KINDS, hint="Write --within easiest:0.2, for example.")
        try:
            value = float(fraction) if colon else math.nan
        except ValueError:
            value = math.nan
        if not 0 < value <= 1:
            raise UserError(
                f"'{given}' needs a fraction of the images, above 0 and at most 1: {kind}:0.2, for example."
            )
        return cls(kind, value, given)

    def __str__(self) -> str:
        return self.text
