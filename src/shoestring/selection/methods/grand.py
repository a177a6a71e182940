"""GraNd: gradient norm early in training."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.early_scores import rank_by_early_mean
from shoestring.selection.pool import Pool


def grand(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    order: Literal["easiest", "hardest"] = "easiest",
    early: float = 0.5,
    offset: float = 0.0,
) -> NDArray[np.int64]:
    """Lowest (easiest) or highest gradient norm of the loss early in training (GraNd, Paul et al. 2021).

    The gradient with respect to the last linear layer is used in place of that of all weights; its norm is averaged
    over the first fraction `early` of the epochs of a proxy, whereas the paper averages over several training runs. The
    first fraction `offset` of the ranking is skipped. Images not seen by then count as the hardest. Raises `UserError`
    for fractions out of range.
    """
    return rank_by_early_mean(pool.gradient, size, rng=rng, method="grand", order=order, early=early, offset=offset)
