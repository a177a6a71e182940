"""Images that are excluded before any method selects."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.label_errors import find_label_errors
from shoestring.selection.near_duplicates import count_conflicting, duplicate_groups, redundant_images
from shoestring.selection.pool import NO_INDICES, Pool


def find_excluded(
    pool: Pool, already: NDArray[np.int64], *, duplicates: bool, label_errors: bool, log: Callable[[str], None]
) -> NDArray[np.int64]:
    """Ascending indices of near duplicates and of probable label errors, as far as requested, and log their numbers.

    Images in `already` are never excluded.
    """
    excluded = [NO_INDICES]
    if duplicates:
        groups = duplicate_groups(pool.images)
        excluded.append(redundant_images(groups, already))
        log(f"excluded {len(excluded[-1]):,} near duplicates")
        labels = pool.images.labels
        if labels is not None and (conflicting := count_conflicting(groups, labels)):
            log(f"{conflicting:,} groups of near duplicates have different labels: some of these labels are wrong")
    if label_errors:
        excluded.append(find_label_errors(pool.probabilities, pool.labels))
        log(f"excluded {len(excluded[-1]):,} images whose label the proxy model contradicts with confidence")
    return np.setdiff1d(np.concatenate(excluded), already)
