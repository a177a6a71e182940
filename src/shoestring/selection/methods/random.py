"""Random baseline."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.pool import Pool


def random(pool: Pool, size: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Uniformly random images, without replacement: the baseline for all other methods."""
    return rng.permutation(len(pool))[:size]
