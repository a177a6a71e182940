"""MaxHerding: coverage that fades with the distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.algorithms.coverage import cover
from shoestring.selection.algorithms.similarity import Floats, products, similarity
from shoestring.selection.pool import NOTHING, Pool

_SAMPLE = 1000  # images whose distances give the bandwidth
_NARROWEST = 1e-9  # bandwidth that float32 can square; no two images that differ are as near


def max_herding(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NOTHING,
    bandwidth: float = 0.0,
) -> NDArray[np.int64]:
    """Images that cover all others by a Gaussian kernel, the generalised coverage of Bae et al. (2024).

    Greedy: each next image raises most the sum over all images of exp(-d^2 / (2 bandwidth^2)) with d the distance to
    the nearest chosen one. Bandwidth 0 takes the median distance between (a sample of 1,000) images.
    Raises `UserError` for a negative bandwidth.
    """
    check_range(bandwidth, "max_herding's bandwidth", ge=0)
    features = pool.features
    wide = max(bandwidth or median_distance(features, rng), _NARROWEST)
    narrow = np.float32(1 / wide**2)

    def gaussian(cosines: Floats) -> Floats:
        cosines -= 1  # -d^2 / 2 for unit vectors
        cosines *= narrow
        return np.exp(cosines, out=cosines)

    return cover(similarity(features, gaussian), size, rng=rng, already=already)


def median_distance(features: Floats, rng: np.random.Generator) -> float:
    """The median distance between two images (of a sample); 1 where most are the same."""
    if len(features) > _SAMPLE:
        features = features[rng.choice(len(features), _SAMPLE, replace=False)]
    upper = np.triu_indices(len(features), 1)
    squares = np.maximum(2 - 2 * (products(features, features))[upper], 0)
    middle = float(np.sqrt(np.median(squares))) if len(squares) else 0.0
    return middle if middle > 1e-3 else 1.0
