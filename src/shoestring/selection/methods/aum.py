"""Area under the margin."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.pool import Pool


def aum(
    pool: Pool, size: int, *, rng: np.random.Generator, order: Literal["easiest", "hardest"] = "easiest"
) -> NDArray[np.int64]:
    """Highest (easiest) or lowest area under the margin during training of a proxy (AUM, Pleiss et al. 2020).

    The area is the margin averaged over training. Mislabeled images have the lowest. Ties are broken at random.
    """
    direction = -1 if order == "easiest" else 1
    return np.lexsort((rng.random(len(pool)), direction * pool.margin))[:size]
