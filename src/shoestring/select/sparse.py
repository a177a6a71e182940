"""The engine of coverage when only near images count: every gain is kept exact at each step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.select.greedy import drawn
from shoestring.select.similarity import Floats
from shoestring.select.ties import highest


def cover_near(
    neighbours: NDArray[np.int32], cosines: Floats, size: int, *, rng: np.random.Generator, sample: float = 1.0
) -> NDArray[np.int64]:
    """The greedy ranking (size,) for f(S) = sum over i of the highest positive cosine of i with a neighbour in S.

    `neighbours` and their `cosines` are (N, K). `sample` is the share of the images that each step looks at.
    """
    total, count = neighbours.shape
    of_whom = np.argsort(neighbours, axis=None, kind="stable")  # entries of the table, grouped by the neighbour
    ends = np.cumsum(np.bincount(neighbours.ravel(), minlength=total))
    best = np.zeros(total, dtype=np.float32)
    gains = _added_up(neighbours, np.maximum(cosines, 0), total)
    free = np.ones(total, dtype=bool)
    chosen = np.empty(size, dtype=np.int64)
    for place in range(size):
        chosen[place] = pick = highest(np.where(drawn(free, sample, rng), gains, -np.inf), rng)
        free[pick] = False
        points, near = np.divmod(of_whom[ends[pick - 1] if pick else 0 : ends[pick]], count)
        new = cosines[points, near]
        nearer = new > best[points]
        points, new = points[nearer], new[nearer]
        old = best[points]
        lost = np.clip(cosines[points], old[:, None], new[:, None]) - old[:, None]
        gains -= _added_up(neighbours[points], lost, total)
        best[points] = new
    return chosen


def _added_up(places: NDArray[np.int32], values: Floats, total: int) -> NDArray[np.float64]:
    return np.bincount(places.ravel(), weights=values.ravel(), minlength=total).astype(np.float64, copy=False)
