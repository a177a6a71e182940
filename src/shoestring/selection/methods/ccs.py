"""Coverage-centric coreset selection."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.pool import Pool


def ccs(pool: Pool, size: int, *, rng: np.random.Generator, cut: float = 0.3, strata: int = 50) -> NDArray[np.int64]:
    """Random images from all strata of difficulty except the hardest images (CCS, Zheng et al. 2023).

    The fraction `cut` with the lowest mean margin is dropped, the rest is divided into `strata` of equal width in the
    margin, and an equal number is drawn from each, or all images of a small stratum. Strata take turns, so that every
    prefix covers them. Raises `UserError` for a cut or a number of strata out of range.
    """
    check_range(cut, "ccs's cut", ge=0, lt=1)
    check_range(strata, "ccs's strata", ge=1)
    order = np.lexsort((rng.random(len(pool)), -pool.margin))  # easiest first
    kept = order[: max(size, round((1 - cut) * len(pool)))]
    score = np.where(
        np.isfinite(pool.margin[kept]), pool.margin[kept], pool.margin[np.isfinite(pool.margin)].min(initial=0)
    )
    low, high = score.min(), score.max()
    stratum = np.minimum((strata * (score - low) / max(high - low, 1e-12)).astype(np.int64), strata - 1)
    turn = np.empty(len(kept))
    for number in np.unique(stratum):
        members = np.flatnonzero(stratum == number)
        turn[rng.permutation(members)] = np.arange(len(members))
    return kept[np.lexsort((rng.random(len(kept)), turn))[:size]]
