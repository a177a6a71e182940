"""The loop shared by all greedy methods."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.pool import NO_INDICES


def greedy(
    count: int,
    size: int,
    best: Callable[[NDArray[np.bool_]], int],
    add: Callable[[int], None],
    *,
    already: NDArray[np.int64] = NO_INDICES,
) -> NDArray[np.int64]:
    """Select `size` of `count` images greedily: (size,), best first.

    `best` returns the best image within a mask (N,) of those not selected yet; `add` updates the state with a selected
    image. The images in `already` are added first and not returned.
    """
    free = np.ones(count, dtype=bool)
    for pick in already.tolist():
        add(pick)
        free[pick] = False
    selected = np.empty(size, dtype=np.int64)
    for rank in range(size):
        selected[rank] = pick = best(free)
        add(pick)
        free[pick] = False
    return selected


def sample_mask(free: NDArray[np.bool_], sample: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mask (N,) of a random fraction of the free images, at least one; with 1 all of them, without a random draw."""
    if sample >= 1:
        return free
    indices = np.flatnonzero(free)
    mask = np.zeros_like(free)
    mask[rng.choice(indices, math.ceil(sample * len(indices)), replace=False, shuffle=False)] = True
    return mask
