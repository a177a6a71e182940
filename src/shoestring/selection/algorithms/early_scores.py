"""The order by what is measured early in a training, which EL2N and GraNd share."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range


def by_early_mean(
    measured: NDArray[np.float32],
    size: int,
    *,
    rng: np.random.Generator,
    method: str,
    order: str,
    early: float,
    offset: float,
) -> NDArray[np.int64]:
    """Images with the lowest ("easiest") or highest mean of what was measured (E, N) in the first epochs.

    `early` is a share of the epochs; the first `offset` share of the order is passed over, as far as `size` images are
    left. Images not seen by then count as the hardest, ties go by the seed. Raises `UserError`, which names the method,
    for shares out of range.
    """
    check_range(early, f"{method}'s early", gt=0, le=1)
    check_range(offset, f"{method}'s offset", ge=0, lt=1)
    first = measured[: max(1, math.ceil(early * len(measured)))]
    known = np.isfinite(first)
    total = np.where(known, first, 0.0).sum(0, dtype=np.float64)
    score = np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.inf)
    ranking = np.lexsort((rng.random(len(score)), score if order == "easiest" else -score))
    start = min(round(offset * len(score)), len(score) - size)
    return ranking[start : start + size]
