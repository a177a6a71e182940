"""Facility location by parts: a greedy choice of each part, then one among all that the parts left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.coverage import cover
from shoestring.selection.algorithms.gpu import Accelerated, accelerates
from shoestring.selection.algorithms.neighbors import nearest, nearest_among
from shoestring.selection.algorithms.similarity import Floats, similarity
from shoestring.selection.algorithms.sparse_coverage import cover_near
from shoestring.selection.pool import NOTHING

_NEAR = 128  # of the images left by all parts, how many count as like an image


@dataclass(frozen=True)
class Left:
    """What a part of N images leaves: rows (k,) of its choice, best first, and of witnesses, drawn from the others.

    Each witness stands for `weight` images, so that with the choice they stand for the part.
    """

    rows: NDArray[np.int64]
    witnesses: NDArray[np.int64]
    weight: float


def covering(
    features: Floats,
    size: int,
    *,
    rng: np.random.Generator,
    neighbours: int = 0,
    sample: float = 1.0,
    already: NDArray[np.int64] = NOTHING,
    device: str = "cpu",
) -> NDArray[np.int64]:
    """The greedy choice (size,) of these images (N, D), by all cosines or by those with so many neighbours."""
    if neighbours:
        places, cosines = nearest(features, min(neighbours, len(features)), device)
        return cover_near(places, cosines, size, rng=rng, sample=sample, already=already)
    alike = Accelerated(features, device) if accelerates(device, features) else similarity(features)
    return cover(alike, size, rng=rng, sample=sample, already=already)


def left_by(
    features: Floats, size: int, *, before: int, rng: np.random.Generator, neighbours: int = 0, sample: float = 1.0
) -> Left:
    """What a part (N, D) leaves, whose first rows had been chosen `before`: `size` images and as many witnesses.

    Both are fewer where the part has no more.
    """
    begun = np.arange(before)
    size = min(size, len(features) - before)
    rows = covering(features, size, rng=rng, neighbours=neighbours, sample=sample, already=begun)
    others = np.setdiff1d(np.arange(before, len(features)), rows)
    witnesses = rng.choice(others, min(size, len(others)), replace=False)
    return Left(rows, witnesses, len(others) / max(1, len(witnesses)))


def among_left(
    chosen: Floats,
    witnesses: Floats,
    weights: Floats,
    size: int,
    *,
    before: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """The greedy choice (size,) of all that parts chose (U, D), by how they cover each other and the witnesses (W, D).

    A witness counts as often as its weight (W,) says. The first rows had been chosen `before`.
    """
    near = min(_NEAR, len(chosen))
    own, seen = nearest_among(chosen, chosen, near), nearest_among(witnesses, chosen, near)
    places = np.concatenate([own[0], seen[0]])
    cosines = np.concatenate([own[1], seen[1] * weights[:, None]])
    return cover_near(places, cosines, size, rng=rng, already=np.arange(before), among=len(chosen))
