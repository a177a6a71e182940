"""Area under the margin: how clearly an image was told from the other classes all through a training."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.pool import Pool


def aum(
    pool: Pool, size: int, *, rng: np.random.Generator, order: Literal["easiest", "hardest"] = "easiest"
) -> NDArray[np.int64]:
    """Images with the highest (easiest) or lowest mean margin over the training of a proxy (Pleiss et al. 2020).

    Mislabelled images have the lowest of all. Ties go by the seed.
    """
    direction = -1 if order == "easiest" else 1
    return np.lexsort((rng.random(len(pool)), direction * pool.margin))[:size]
