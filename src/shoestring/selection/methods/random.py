"""The control that every method has to beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.pool import Pool


def random(pool: Pool, size: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Images at random, without replacement."""
    return rng.permutation(len(pool))[:size]
