"""Ranking by a score averaged over the first epochs of training, shared by EL2N and GraNd."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range


def rank_by_early_mean(
    scores: NDArray[np.float32],
    size: int,
    *,
    rng: np.random.Generator,
    method: str,
    order: str,
    early: float,
    offset: float,
) -> NDArray[np.int64]:
    """Images with the lowest ("easiest") or highest ("hardest") mean score (E, N) over the first epochs: (size,).

    `early` is a fraction of the epochs. The first `offset` fraction of the ranking is skipped, as far as `size` images
    remain. Images without a score in these epochs (NaN) count as the hardest; ties are broken at random. Raises
    `UserError`, which names the method, for fractions out of range.
    """
    check_range(early, f"{method}'s early", gt=0, le=1)
    check_range(offset, f"{method}'s offset", ge=0, lt=1)
    first = scores[: max(1, math.ceil(early * len(scores)))]
    known = np.isfinite(first)
    total = np.where(known, first, 0.0).sum(0, dtype=np.float64)
    mean = np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.inf)
    ranking = np.lexsort((rng.random(len(mean)), mean if order == "easiest" else -mean))
    start = min(round(offset * len(mean)), len(mean) - size)
    return ranking[start : start + size]
