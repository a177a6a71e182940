"""Facility location: every image should have a chosen one that is like it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.algorithms.distributed import in_partitions
from shoestring.selection.algorithms.partitions import covering
from shoestring.selection.pool import NOTHING, Pool


def facility_location(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NOTHING,
    neighbours: int = 0,
    sample: float = 1.0,
    partitions: int = 0,
) -> NDArray[np.int64]:
    """Images such that every image has one like it, by the sum of highest cosines (Wei et al. 2014).

    Greedy: each next image raises most the sum over all images of their highest cosine with a chosen one (negative
    cosines count as 0). With `neighbours` only that many nearest images of each count, for large pools without
    classes. With `sample` below 1 each step looks at that share of the images only (Mirzasoleiman et al. 2015). With
    `partitions` random parts choose in processes of their own, and the choice is among theirs (GreeDi, Mirzasoleiman
    et al. 2013). Raises `UserError` for negative neighbours and partitions and for samples outside 0 to 1.
    """
    check_range(neighbours, "facility_location's neighbours", ge=0)
    check_range(sample, "facility_location's sample", gt=0, le=1)
    check_range(partitions, "facility_location's partitions", ge=0)
    options = {"neighbours": neighbours, "sample": sample}
    parts = min(partitions, len(pool) - len(already))
    if parts > 1:
        return in_partitions(pool, size, parts, rng=rng, already=already, options=options)
    return covering(pool.features, size, rng=rng, already=already, device=pool.device, **options)
