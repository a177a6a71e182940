"""Difficulty range: select from the easiest, hardest or middle images only."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shoestring.config.difficulty import Difficulty
from shoestring.errors import UserError
from shoestring.selection.algorithms.ties import random_argsort
from shoestring.selection.pool import Pool


def within_range(
    pool: Pool, candidates: NDArray[np.int64], within: Difficulty, *, size: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Ascending indices of the easiest, hardest or middle candidates (K,), by their final margin.

    The fraction is of the candidates, so of a class if classes are balanced. Ties are broken at random. Raises
    `UserError` if fewer than `size` images are in the range.
    """
    total = len(candidates)
    count = math.ceil(within.fraction * total - 1e-9)
    if count < size:
        raise UserError(
            f"--within {within} leaves {count:,} of {total:,} images, but {size:,} are to be selected. "
            "Take a larger fraction, or select fewer."
        )
    order = random_argsort(-pool.final_margin[candidates], rng)  # easiest first
    start = {"easiest": 0, "hardest": total - count, "middle": (total - count) // 2}[within.kind]
    return np.sort(candidates[order[start : start + count]])
