"""Coverage of all degrees of difficulty but the hardest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.pool import Pool


def ccs(pool: Pool, size: int, *, rng: np.random.Generator, cut: float = 0.3, strata: int = 50) -> NDArray[np.int64]:
    """Coverage-centric selection: random images from every stratum of difficulty, the hardest left out (Zheng 2023).

    The `cut` share with the lowest mean margin goes, the rest is divided into `strata` of equal ranges of the margin,
    and each gives as many images, small ones all they have. As in the order of the strata's turns, every prefix covers
    them too. Raises `UserError` for a cut or a number of strata out of range.
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
    for one in np.unique(stratum):
        members = np.flatnonzero(stratum == one)
        turn[rng.permutation(members)] = np.arange(len(members))
    return kept[np.lexsort((rng.random(len(kept)), turn))[:size]]
