"""The engine of coverage when only near images count."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.greedy import drawn, step_by_step
from shoestring.selection.algorithms.pairs import Pairs
from shoestring.selection.algorithms.similarity import Floats, slices
from shoestring.selection.algorithms.ties import highest
from shoestring.selection.pool import NOTHING


def cover_near(
    neighbours: NDArray[np.int32],
    cosines: Floats,
    size: int,
    *,
    rng: np.random.Generator,
    sample: float = 1.0,
    already: NDArray[np.int64] = NOTHING,
    among: int = 0,
) -> NDArray[np.int64]:
    """The greedy ranking (size,) for f(S) = sum over i of the highest positive cosine of i with a neighbour in S.

    `neighbours` and their `cosines` are (P, K), of P images with some of `among` candidates (0: of themselves).
    `sample` is the share of the candidates that each step looks at.
    """
    points, count = neighbours.shape
    total = among or points
    of_whom, ends = _holders(neighbours, total)
    gains = np.zeros(total)
    for part in slices(points, 4096):
        positive = np.maximum(cosines[part], 0).ravel()
        gains += np.bincount(neighbours[part].ravel(), weights=positive, minlength=total)
    starts = np.arange(points + 1) * count
    pairs = Pairs(starts, neighbours.ravel(), cosines.ravel(), np.zeros(points, dtype=np.float32), gains)

    def lead(free: NDArray[np.bool_]) -> int:
        return highest(pairs.gains, rng, drawn(free, sample, rng))

    def add(pick: int) -> None:
        entries = of_whom[ends[pick - 1] if pick else 0 : ends[pick]]
        pairs.add(entries // count, pairs.values[entries])

    return step_by_step(total, size, lead, add, already=already)


def _holders(neighbours: NDArray[np.int32], total: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The entries of the table grouped by the neighbour that they name, and where each group ends."""
    of_whom = np.argsort(neighbours, axis=None, kind="stable")
    return of_whom, np.cumsum(np.bincount(neighbours.ravel(), minlength=total))
