"""Facility location: every image should be similar to a selected one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.algorithms.distributed import greedi
from shoestring.selection.algorithms.partitions import cover_features
from shoestring.selection.pool import NO_INDICES, Pool


def facility_location(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NO_INDICES,
    neighbors: int = 0,
    sample: float = 1.0,
    partitions: int = 0,
) -> NDArray[np.int64]:
    """Facility location: maximum sum over all images of the cosine to the nearest selected one (Wei et al. 2014).

    Greedy and exact; negative cosines count as 0. With `neighbors` only that many nearest images of each count, for
    large pools without classes. With `sample` below 1 each step considers a random fraction of the images (stochastic
    greedy, Mirzasoleiman et al. 2015). With `partitions` random parts select in processes of their own, and the result
    is selected from theirs (GreeDi, Mirzasoleiman et al. 2013). Raises `UserError` for negative `neighbors` or
    `partitions` and for a sample outside 0 to 1.
    """
    check_range(neighbors, "facility_location's neighbors", ge=0)
    check_range(sample, "facility_location's sample", gt=0, le=1)
    check_range(partitions, "facility_location's partitions", ge=0)
    options = {"neighbors": neighbors, "sample": sample}
    parts = min(partitions, len(pool) - len(already))
    if parts > 1:
        return greedi(pool, size, parts, rng=rng, already=already, options=options)
    return cover_features(pool.features, size, rng=rng, already=already, device=pool.device, **options)
