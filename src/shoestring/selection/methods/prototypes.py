"""Prototypes: one image per cluster."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.clusters import kmeans, round_robin
from shoestring.selection.pool import Pool


def prototypes(
    pool: Pool, size: int, *, rng: np.random.Generator, order: Literal["easiest", "hardest"] = "easiest"
) -> NDArray[np.int64]:
    """From each of `size` k-means clusters the image nearest to or farthest from its center (Sorscher et al. 2022).

    Large clusters come first. If there are fewer distinct images than clusters, further images of the clusters follow.
    """
    labels, distances = kmeans(pool.features, size, rng)
    return round_robin(labels, distances if order == "easiest" else -distances, rng)[:size]
