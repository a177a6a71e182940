"""D2 pruning: difficulty by message passing on a graph of nearest neighbors."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from shoestring.config.values import check_range
from shoestring.selection.algorithms.greedy import greedy
from shoestring.selection.algorithms.neighbors import nearest_neighbors
from shoestring.selection.algorithms.ties import random_argmax
from shoestring.selection.pool import NO_INDICES, Pool


def d2(  # noqa: PLR0913 (options of the method)
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NO_INDICES,
    order: Literal["easiest", "hardest"] = "easiest",
    neighbors: int = 10,
    forward: float = 1.0,
    reverse: float = 1.0,
) -> NDArray[np.int64]:
    """Easy (or hard) images of dense regions, spread out by message passing (D2 pruning, Maharana et al. 2024).

    The score is the rank of the final margin, from 0 to 1. Forward pass: each image adds exp(-forward d^2) times the
    scores of its nearest `neighbors` at distance d. Reverse pass: the image with the highest score is selected, and
    exp(-reverse d^2) times its score is subtracted from those of its neighbors. Raises `UserError` for fewer than one
    neighbor and for negative rates.
    """
    check_range(neighbors, "d2's neighbors", ge=1)
    check_range(forward, "d2's forward", ge=0)
    check_range(reverse, "d2's reverse", ge=0)
    count = len(pool)
    nearest, cosines = nearest_neighbors(pool.features, min(neighbors + 1, count), pool.device)
    squared = np.maximum(2 - 2 * cosines.astype(np.float64), 0)
    is_other = nearest != np.arange(count)[:, None]
    own = rankdata(pool.final_margin if order == "easiest" else -pool.final_margin) / count
    score = own + (np.exp(-forward * squared) * own[nearest] * is_other).sum(1)
    discount = np.exp(-reverse * squared) * is_other

    def best(free: NDArray[np.bool_]) -> int:
        return random_argmax(score, rng, free)

    def add(pick: int) -> None:
        score[nearest[pick]] -= discount[pick] * score[pick]

    return greedy(count, size, best, add, already=already)
