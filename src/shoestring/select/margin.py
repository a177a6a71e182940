"""Margin: how clearly a trained proxy network tells an image from the other classes."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.select.pool import Pool


def margin(
    pool: Pool, size: int, *, rng: np.random.Generator, order: Literal["easiest", "hardest"] = "easiest"
) -> NDArray[np.int64]:
    """Images that a trained proxy finds easiest (or hardest), by the logit of the label less the best other.

    With few images the easy ones teach most, with many the hard ones (Sorscher et al. 2022). Ties go by the seed.
    """
    direction = -1 if order == "easiest" else 1
    return np.lexsort((rng.random(len(pool)), direction * pool.final_margin))[:size]
