"""Margin of a trained proxy model."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.pool import Pool


def margin(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    order: Literal["easiest", "hardest"] = "easiest",
    among: float = 1.0,
) -> NDArray[np.int64]:
    """Highest (easiest) or lowest margin of a trained proxy: label logit minus highest other (Sorscher et al. 2022).

    Easy images are best for small subsets, hard ones for large subsets. With `among` above 1, `size` images are drawn
    at random from the first `among` * `size`, because the easiest images are very similar to each other. Ties are
    broken at random. Raises `UserError` for `among` below 1.
    """
    check_range(among, "margin's among", ge=1)
    direction = -1 if order == "easiest" else 1
    ordered = np.lexsort((rng.random(len(pool)), direction * pool.final_margin))
    return ordered[:size] if among == 1 else rng.permutation(ordered[: math.ceil(among * size)])[:size]
