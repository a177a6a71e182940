"""Explicit growth stages, each WIDTH@RESOLUTION[@DEPTH][:FRACTION]: `0.5@0.5@0.5,1@0.75:0.3,1@1`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise

from shoestring.errors import UserError

_NUMBER = r"\d*\.?\d+"
_STAGE = re.compile(rf"\s*({_NUMBER})\s*@\s*({_NUMBER})\s*(?:@\s*({_NUMBER})\s*)?(?::\s*({_NUMBER})\s*)?")


@dataclass(frozen=True)
class Stages:
    """Stages of (resolution, width, depth), and the fraction of the training at which each but the last ends."""

    parts: tuple[tuple[float, float, float], ...]
    ends: tuple[float, ...]
    text: str

    @classmethod
    def parse(cls, given: Stages | str) -> Stages:
        """Parse stages.

        Width, resolution, depth and fraction of the training are numbers above 0 and up to 1. The default depth is 1;
        stages without a fraction divide equally what the others leave. Raises `UserError` for anything else, if a stage
        is smaller than the one before, and if the last one is not 1@1.
        """
        if isinstance(given, Stages):
            return given
        matches = [_STAGE.fullmatch(part) for part in given.split(",")]
        parts, fractions = [], []
        for part, match in zip(given.split(","), matches):
            if match is None:
                raise UserError(
                    f"'{part}' is not a stage: write WIDTH@RESOLUTION or WIDTH@RESOLUTION@DEPTH, either with :FRACTION "
                    "of the training, such as 0.5@0.75:0.3 or 1@0.75@0.5:0.3."
                )
            parts.append((float(match[2]), float(match[1]), float(match[3] or 1)))
            fractions.append(None if match[4] is None else float(match[4]))
        for part in parts:
            check_stage(part)
        if any(late < early for before, after in pairwise(parts) for early, late in zip(before, after)):
            raise UserError(f"stages can only grow, and '{given}' shrinks.")
        if parts[-1] != (1.0, 1.0, 1.0):
            raise UserError(f"the last stage trains the whole network on full images: end '{given}' with 1@1.")
        return cls(tuple(parts), tuple(accumulate(_fill_in(fractions, given)))[:-1], given)

    def __str__(self) -> str:
        return self.text


def check_stage(fractions: Iterable[float]) -> None:
    """Raise `UserError` unless resolution, width and depth of a stage are above 0 and at most 1."""
    for fraction in fractions:
        if not 0 < fraction <= 1:
            raise UserError(
                f"resolution, width and depth of a stage are fractions above 0 and up to 1, not {fraction:g}."
            )


def _fill_in(fractions: list[float | None], text: str) -> list[float]:
    """Replace missing fractions. Raises `UserError` if the sum is not 1."""
    given, missing = sum(fraction or 0.0 for fraction in fractions), fractions.count(None)
    if (given >= 1 if missing else abs(given - 1) > 1e-6) or 0.0 in fractions:
        raise UserError(f"the stages' fractions of the training must be above 0 and add up to 1: '{text}'.")
    return [(1 - given) / missing if fraction is None else fraction for fraction in fractions]
