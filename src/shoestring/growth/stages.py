"""Stages as a user writes them: `0.5@0.5@0.5,1@0.75:0.3,1@1`, each WIDTH@RESOLUTION[@DEPTH][:SHARE]."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate, pairwise

from shoestring.errors import UserError
from shoestring.growth import Schedule, Stage

_NUMBER = r"\d*\.?\d+"
_STAGE = re.compile(rf"\s*({_NUMBER})\s*@\s*({_NUMBER})\s*(?:@\s*({_NUMBER})\s*)?(?::\s*({_NUMBER})\s*)?")


def parse(text: str) -> Schedule:
    """The schedule that such a text describes.

    Width, resolution, depth and share of the training are numbers above 0 and up to 1. Without a depth all blocks are
    trained; stages without a share divide equally what the others leave. Raises `UserError` for anything else, and when
    a stage is smaller than the one before or the last is not the whole problem, 1@1.
    """
    found = [_STAGE.fullmatch(part) for part in text.split(",")]
    stages, shares = [], []
    for part, match in zip(text.split(","), found):
        if match is None:
            raise UserError(
                f"'{part}' is no stage: write WIDTH@RESOLUTION, WIDTH@RESOLUTION@DEPTH, or either with :SHARE, such as "
                "0.5@0.75:0.3 or 1@0.75@0.5:0.3."
            )
        stages.append(Stage(float(match[2]), float(match[1]), float(match[3] or 1)))
        shares.append(None if match[4] is None else float(match[4]))
    if any(one.least(other) != one for one, other in pairwise(stages)):
        raise UserError(f"stages can only grow, and '{text}' shrinks.")
    if stages[-1] != Stage():
        raise UserError(f"the last stage trains the whole network on whole images: end '{text}' with 1@1.")
    ends = list(accumulate(_completed(shares, text)))[:-1]
    return Schedule(text, lambda spent: stages[bisect_right(ends, spent)])


def _completed(shares: list[float | None], text: str) -> list[float]:
    """The shares with those that were left out; `UserError` when they do not divide the whole."""
    given, missing = sum(share or 0.0 for share in shares), shares.count(None)
    if (given >= 1 if missing else abs(given - 1) > 1e-6) or 0.0 in shares:
        raise UserError(f"the stages' shares of the training must be above 0 and add up to 1: '{text}'.")
    return [(1 - given) / missing if share is None else share for share in shares]
