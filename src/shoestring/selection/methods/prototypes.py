"""Prototypes: one image of each cluster."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.clusters import clusters, in_turn
from shoestring.selection.pool import Pool


def prototypes(
    pool: Pool, size: int, *, rng: np.random.Generator, order: Literal["easiest", "hardest"] = "easiest"
) -> NDArray[np.int64]:
    """Of each of `size` k-means clusters the image nearest its centre, or farthest from it (Sorscher et al. 2022).

    Large clusters come first. Where there are fewer different images than clusters, second ones fill up.
    """
    labels, distances = clusters(pool.features, size, rng)
    return in_turn(labels, distances if order == "easiest" else -distances, rng)[:size]
