"""EL2N: error of the probabilities early in training."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.early_scores import rank_by_early_mean
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
    """Lowest (easiest) or highest L2 norm of the error vector early in training (EL2N, Paul et al. 2021).

    The norm is averaged over the first fraction `early` of the epochs of a proxy. The first fraction `offset` of the
    ranking is skipped, since the hardest images are often mislabeled. Images not seen by then count as the hardest.
    Raises `UserError` for fractions out of range.
    """
    return rank_by_early_mean(pool.error, size, rng=rng, method="el2n", order=order, early=early, offset=offset)
