"""Forgetting events: how often the prediction for an image turns wrong again during training."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.pool import Pool


def forgetting(
    pool: Pool, size: int, *, rng: np.random.Generator, order: Literal["easiest", "hardest"] = "easiest"
) -> NDArray[np.int64]:
    """Fewest (easiest) or most (hardest) forgetting events during training of a proxy (Toneva et al. 2019).

    Images that were never learned count as forgotten most often. Ties, of which there are many, are broken by the mean
    margin (higher is easier), and then at random.
    """
    never = pool.forgotten.max(initial=0) + 1
    events = np.where(pool.learned, pool.forgotten, never)
    direction = 1 if order == "easiest" else -1
    return np.lexsort((rng.random(len(pool)), -direction * pool.margin, direction * events))[:size]
