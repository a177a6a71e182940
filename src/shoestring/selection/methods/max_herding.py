"""MaxHerding: coverage with a Gaussian kernel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.algorithms.coverage import greedy_coverage
from shoestring.selection.algorithms.similarity import Floats, inner_products, similarity
from shoestring.selection.pool import NO_INDICES, Pool

_SAMPLE = 1000  # images from which the bandwidth is estimated
_MIN_BANDWIDTH = 1e-9  # float32 can still square it; distinct images are never that close


def max_herding(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NO_INDICES,
    bandwidth: float = 0.0,
) -> NDArray[np.int64]:
    """Maximum coverage with a Gaussian kernel (MaxHerding, generalized coverage, Bae et al. 2024).

    Greedy: each step takes the image that most increases the sum over all images of exp(-d^2 / (2 bandwidth^2)), where
    d is the distance to the nearest selected image. Bandwidth 0 means the median distance between images (of a sample
    of 1,000). Raises `UserError` for a negative bandwidth.
    """
    check_range(bandwidth, "max_herding's bandwidth", ge=0)
    features = pool.features
    width = max(bandwidth or median_distance(features, rng), _MIN_BANDWIDTH)
    scale = np.float32(1 / width**2)

    def gaussian(cosines: Floats) -> Floats:
        cosines -= 1  # -d^2 / 2 for unit vectors
        cosines *= scale
        return np.exp(cosines, out=cosines)

    return greedy_coverage(similarity(features, gaussian), size, rng=rng, already=already)


def median_distance(features: Floats, rng: np.random.Generator) -> float:
    """Median distance between two images (of a sample); 1 if most are the same."""
    if len(features) > _SAMPLE:
        features = features[rng.choice(len(features), _SAMPLE, replace=False)]
    upper = np.triu_indices(len(features), 1)
    squares = np.maximum(2 - 2 * (inner_products(features, features))[upper], 0)
    median = float(np.sqrt(np.median(squares))) if len(squares) else 0.0
    return median if median > 1e-3 else 1.0
