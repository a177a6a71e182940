"""Error of the probabilities early in a training."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.early_scores import by_early_mean
from shoestring.selection.pool import Pool


def el2n(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    order: Literal["easiest", "hardest"] = "easiest",
    early: float = 0.5,
    offset: float = 0.0,
) -> NDArray[np.int64]:
    """Images whose probabilities are nearest to (easiest) or farthest from their label early on (Paul et al. 2021).

    The mean length of the error vector over the first `early` share of the epochs of a proxy. The first `offset` share
    of the order is passed over: the hardest of all are often mislabelled. Images not seen by then count as the hardest.
    Raises `UserError` for shares out of range.
    """
    return by_early_mean(pool.error, size, rng=rng, method="el2n", order=order, early=early, offset=offset)
