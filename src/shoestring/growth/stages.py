"""Parser for explicit stages: `0.5@0.5@0.5,1@0.75:0.3,1@1`, each WIDTH@RESOLUTION[@DEPTH][:FRACTION]."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate, pairwise

from shoestring.errors import UserError
from shoestring.growth import Schedule, Stage

_NUMBER = r"\d*\.?\d+"
_STAGE = re.compile(rf"\s*({_NUMBER})\s*@\s*({_NUMBER})\s*(?:@\s*({_NUMBER})\s*)?(?::\s*({_NUMBER})\s*)?")


def parse_stages(text: str) -> Schedule:
    """Parse stages into a schedule.

    Width, resolution, depth and fraction of the training are numbers above 0 and up to 1. The default depth is 1;
    stages without a fraction divide equally what the others leave. Raises `UserError` for anything else, if a stage is
    smaller than the one before, and if the last one is not 1@1.
    """
    matches = [_STAGE.fullmatch(part) for part in text.split(",")]
    stages, fractions = [], []
    for part, match in zip(text.split(","), matches):
        if match is None:
            raise UserError(
                f"'{part}' is not a stage: write WIDTH@RESOLUTION or WIDTH@RESOLUTION@DEPTH, either with :FRACTION of "
                "the training, such as 0.5@0.75:0.3 or 1@0.75@0.5:0.3."
            )
        stages.append(Stage(float(match[2]), float(match[1]), float(match[3] or 1)))
        fractions.append(None if match[4] is None else float(match[4]))
    if any(before.minimum(after) != before for before, after in pairwise(stages)):
        raise UserError(f"stages can only grow, and '{text}' shrinks.")
    if stages[-1] != Stage():
        raise UserError(f"the last stage trains the whole network on full images: end '{text}' with 1@1.")
    ends = list(accumulate(_fill_in(fractions, text)))[:-1]
    return Schedule(text, lambda spent: stages[bisect_right(ends, spent)])


def _fill_in(fractions: list[float | None], text: str) -> list[float]:
    """Replace missing fractions. Raises `UserError` if the sum is not 1."""
    given, missing = sum(fraction or 0.0 for fraction in fractions), fractions.count(None)
    if (given >= 1 if missing else abs(given - 1) > 1e-6) or 0.0 in fractions:
        raise UserError(f"the stages' fractions of the training must be above 0 and add up to 1: '{text}'.")
    return [(1 - given) / missing if fraction is None else fraction for fraction in fractions]
