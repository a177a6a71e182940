"""Forgetting events: how often an image goes from right to wrong while a proxy network is trained."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.pool import Pool


def forgetting(
    pool: Pool, size: int, *, rng: np.random.Generator, order: Literal["easiest", "hardest"] = "easiest"
) -> NDArray[np.int64]:
    """Images forgotten least (easiest) or most (hardest) often while a proxy trains (Toneva et al. 2019).

    Images never learnt count as forgotten most. Most images tie, so the mean margin decides between them (a clear
    margin is easy), and the seed between those that tie even then.
    """
    never = pool.forgotten.max(initial=0) + 1
    events = np.where(pool.learnt, pool.forgotten, never)
    direction = 1 if order == "easiest" else -1
    return np.lexsort((rng.random(len(pool)), -direction * pool.margin, direction * events))[:size]
