"""Difficulty range: select from the easiest, hardest or middle images only."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shoestring.errors import UserError, unknown
from shoestring.selection.algorithms.ties import random_argsort
from shoestring.selection.pool import Pool

_KINDS = ("easiest", "hardest", "middle")


def parse_within(within: str) -> tuple[str, float]:
    """Parse 'easiest:0.2' as ('easiest', 0.2). Raises `UserError` for anything else."""
    kind, colon, fraction = within.partition(":")
    if kind not in _KINDS:
        raise unknown("difficulty range", kind, _KINDS, hint="Write --within easiest:0.2, for example.")
    try:
        value = float(fraction) if colon else math.nan
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise UserError(f"'{within}' needs a fraction of the images, above 0 and at most 1: {kind}:0.2, for example.")
    return kind, value


def within_range(
    pool: Pool, candidates: NDArray[np.int64], within: str, *, size: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Ascending indices of the easiest, hardest or middle candidates (K,), by their final margin.

    The fraction is of the candidates, so of a class if classes are balanced. Ties are broken at random. Raises
    `UserError` if fewer than `size` images are in the range.
    """
    kind, fraction = parse_within(within)
    total = len(candidates)
    count = math.ceil(fraction * total - 1e-9)
    if count < size:
        raise UserError(
            f"--within {within} leaves {count:,} of {total:,} images, but {size:,} are to be selected. "
            "Take a larger fraction, or select fewer."
        )
    order = random_argsort(-pool.final_margin[candidates], rng)  # easiest first
    start = {"easiest": 0, "hardest": total - count, "middle": (total - count) // 2}[kind]
    return np.sort(candidates[order[start : start + count]])
