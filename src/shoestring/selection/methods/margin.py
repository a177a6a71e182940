"""Margin: how clearly a trained proxy network tells an image from the other classes."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.pool import Pool


def margin(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    order: Literal["easiest", "hardest"] = "easiest",
    among: float = 1.0,
) -> NDArray[np.int64]:
    """Images that a trained proxy finds easiest (or hardest), by the logit of the label less the best other.

    With few images the easy ones teach most, with many the hard ones (Sorscher et al. 2022). `among` times as many are
    taken from that end of the order, and of these `size` at random: the easiest of all are much alike. Ties go by the
    seed. Raises `UserError` for `among` below 1.
    """
    check_range(among, "margin's among", ge=1)
    direction = -1 if order == "easiest" else 1
    ordered = np.lexsort((rng.random(len(pool)), direction * pool.final_margin))
    return ordered[:size] if among == 1 else rng.permutation(ordered[: math.ceil(among * size)])[:size]
