"""D2: difficulty that spreads to neighbours, and is used up where an image is taken."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from shoestring.config.values import check_range
from shoestring.selection.algorithms.greedy import step_by_step
from shoestring.selection.algorithms.neighbors import nearest
from shoestring.selection.algorithms.ties import highest
from shoestring.selection.pool import NOTHING, Pool


def d2(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NOTHING,
    order: Literal["easiest", "hardest"] = "easiest",
    neighbours: int = 10,
    forward: float = 1.0,
    reverse: float = 1.0,
) -> NDArray[np.int64]:
    """Easy (or hard) images in dense places, no two from the same one: D2 pruning (Maharana et al. 2024).

    The score is the rank of the final margin from 0 to 1. Each image first adds exp(-forward d^2) of the scores of its
    nearest `neighbours` at distance d; then the best is taken, image after image, and takes exp(-reverse d^2) of its
    score away from its neighbours. Raises `UserError` for less than one neighbour and for negative rates.
    """
    check_range(neighbours, "d2's neighbours", ge=1)
    check_range(forward, "d2's forward", ge=0)
    check_range(reverse, "d2's reverse", ge=0)
    count = len(pool)
    places, cosines = nearest(pool.features, min(neighbours + 1, count), pool.device)
    apart = np.maximum(2 - 2 * cosines.astype(np.float64), 0)
    other = places != np.arange(count)[:, None]
    own = rankdata(pool.final_margin if order == "easiest" else -pool.final_margin) / count
    score = own + (np.exp(-forward * apart) * own[places] * other).sum(1)
    weaker = np.exp(-reverse * apart) * other

    def lead(free: NDArray[np.bool_]) -> int:
        return highest(score, rng, free)

    def add(pick: int) -> None:
        score[places[pick]] -= weaker[pick] * score[pick]

    return step_by_step(count, size, lead, add, already=already)
