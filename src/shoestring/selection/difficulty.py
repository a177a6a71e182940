"""Difficulty as a filter: choose among the easiest, the hardest or the middle images only."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shoestring.errors import UserError, unknown
from shoestring.selection.algorithms.ties import lowest_first
from shoestring.selection.pool import Pool

_KINDS = ("easiest", "hardest", "middle")


def parse(within: str) -> tuple[str, float]:
    """'easiest:0.2' as ('easiest', 0.2); `UserError` for anything else."""
    kind, colon, share = within.partition(":")
    if kind not in _KINDS:
        raise unknown("kind of difficulty", kind, _KINDS, hint="Write --within easiest:0.2, for example.")
    try:
        value = float(share) if colon else math.nan
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise UserError(f"'{within}' needs a share of the images, above 0 and up to 1: {kind}:0.2, for example.")
    return kind, value


def rows_within(images: Pool, within: str, *, least: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Ascending rows of the candidates whose margin by the trained proxy is among the easiest, hardest or middle ones.

    The share is of these candidates, so of a class where classes are balanced. `UserError` when fewer than
    `least` are left to choose from. Ties go by the seed.
    """
    kind, share = parse(within)
    count = math.ceil(share * len(images) - 1e-9)
    if count < least:
        raise UserError(
            f"--within {within} leaves {count:,} of {len(images):,} images, and {least:,} are to be chosen. "
            "Take a larger share, or fewer examples."
        )
    order = lowest_first(-images.final_margin, rng)  # easiest first
    start = {"easiest": 0, "hardest": len(images) - count, "middle": (len(images) - count) // 2}[kind]
    return np.sort(order[start : start + count])
