"""The frame of every greedy method: image after image, begun with those that are chosen already."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.pool import NOTHING


def step_by_step(
    count: int,
    size: int,
    lead: Callable[[NDArray[np.bool_]], int],
    add: Callable[[int], None],
    *,
    already: NDArray[np.int64] = NOTHING,
) -> NDArray[np.int64]:
    """The greedy choice (size,) of `count` images.

    `lead` names the best of the images in a mask (N,), those that are not chosen yet; `add` is told what is chosen,
    first the images in `already`, which are not returned.
    """
    free = np.ones(count, dtype=bool)
    for pick in already.tolist():
        add(pick)
        free[pick] = False
    chosen = np.empty(size, dtype=np.int64)
    for place in range(size):
        chosen[place] = pick = lead(free)
        add(pick)
        free[pick] = False
    return chosen


def drawn(free: NDArray[np.bool_], sample: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A mask (N,) of this share of the free images, at least one; all of them without a random draw."""
    if sample >= 1:
        return free
    places = np.flatnonzero(free)
    mask = np.zeros_like(free)
    mask[rng.choice(places, math.ceil(sample * len(places)), replace=False, shuffle=False)] = True
    return mask
