"""Facility location, also in two rounds: a greedy selection from each part, then one from what the parts selected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.coverage import greedy_coverage
from shoestring.selection.algorithms.gpu import GpuSimilarity, gpu_pays_off
from shoestring.selection.algorithms.neighbors import nearest_among, nearest_neighbors
from shoestring.selection.algorithms.similarity import Floats, similarity
from shoestring.selection.algorithms.sparse_coverage import greedy_neighbor_coverage
from shoestring.selection.pool import NO_INDICES

_NEIGHBORS = 128  # of the images selected by all parts, how many count as similar to an image


@dataclass(frozen=True)
class PartSummary:
    """What represents a part of N images: selected rows (k,), best first, and witnesses drawn from the other rows.

    Each witness stands for `weight` images.
    """

    rows: NDArray[np.int64]
    witnesses: NDArray[np.int64]
    weight: float


def cover_features(
    features: Floats,
    size: int,
    *,
    rng: np.random.Generator,
    neighbors: int = 0,
    sample: float = 1.0,
    already: NDArray[np.int64] = NO_INDICES,
    device: str = "cpu",
) -> NDArray[np.int64]:
    """Greedy facility location (size,) over features (N, D), by all cosines or those of the nearest `neighbors`."""
    if neighbors:
        indices, cosines = nearest_neighbors(features, min(neighbors, len(features)), device)
        return greedy_neighbor_coverage(indices, cosines, size, rng=rng, sample=sample, already=already)
    pairwise = GpuSimilarity(features, device) if gpu_pays_off(device, features) else similarity(features)
    return greedy_coverage(pairwise, size, rng=rng, sample=sample, already=already)


def summarize_part(
    features: Floats, size: int, *, already: int, rng: np.random.Generator, neighbors: int = 0, sample: float = 1.0
) -> PartSummary:
    """Summarize a part (N, D), whose first `already` rows were selected before, by `size` images and witnesses each.

    Fewer if the part has fewer.
    """
    before = np.arange(already)
    size = min(size, len(features) - already)
    rows = cover_features(features, size, rng=rng, neighbors=neighbors, sample=sample, already=before)
    others = np.setdiff1d(np.arange(already, len(features)), rows)
    witnesses = rng.choice(others, min(size, len(others)), replace=False)
    return PartSummary(rows, witnesses, len(others) / max(1, len(witnesses)))


def merge_parts(
    candidates: Floats,
    witnesses: Floats,
    weights: Floats,
    size: int,
    *,
    already: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Greedy selection (size,) from the images that all parts selected (U, D), by how they cover both groups.

    The witnesses (W, D) count with their weights (W,). The first `already` candidates were selected before.
    """
    count = min(_NEIGHBORS, len(candidates))
    own = nearest_among(candidates, candidates, count)
    seen = nearest_among(witnesses, candidates, count)
    indices = np.concatenate([own[0], seen[0]])
    cosines = np.concatenate([own[1], seen[1] * weights[:, None]])
    before = np.arange(already)
    return greedy_neighbor_coverage(indices, cosines, size, rng=rng, already=before, candidates=len(candidates))
