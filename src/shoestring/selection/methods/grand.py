"""Length of the gradient early in a training."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.early_scores import by_early_mean
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
    """Images whose loss has the shortest (easiest) or longest gradient early on, as by GraNd (Paul et al. 2021).

    The gradient with respect to the last linear layer stands for that of all weights; its length is averaged over the
    first `early` share of the epochs of a proxy, where the paper averages over several trainings. The first `offset`
    share of the order is passed over. Images not seen by then count as the hardest. Raises `UserError` for shares out
    of range.
    """
    return by_early_mean(pool.gradient, size, rng=rng, method="grand", order=order, early=early, offset=offset)
