"""Error of the probabilities early in a training."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.select.pool import Pool
from shoestring.values import limited


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
    limited(early, "el2n's early", above=0, most=1)
    limited(offset, "el2n's offset", least=0, below=1)
    epochs = max(1, math.ceil(early * len(pool.error)))
    known = np.isfinite(pool.error[:epochs])
    total = np.where(known, pool.error[:epochs], 0.0).sum(0, dtype=np.float64)
    score = np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.inf)
    ranking = np.lexsort((rng.random(len(pool)), score if order == "easiest" else -score))
    start = min(round(offset * len(pool)), len(pool) - size)
    return ranking[start : start + size]
