"""Images that are taken out before any method chooses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.label_errors import suspects
from shoestring.selection.near_duplicates import all_but_first, contradictory, groups_of
from shoestring.selection.pool import NOTHING, Pool


def left_out(
    candidates: Pool, already: NDArray[np.int64], *, copies: bool, doubtful: bool, log: Callable[[str], None]
) -> NDArray[np.int64]:
    """Places, ascending, of near duplicates and of images with a doubtful label, as far as wanted; `say` counts them.

    Images chosen `already` are not among them.
    """
    found = [NOTHING]
    if copies:
        groups = groups_of(candidates.images)
        found.append(all_but_first(groups, already))
        log(f"left out as near duplicates: {len(found[-1]):,} images")
        if candidates.images.labels is not None and (wrong := contradictory(groups, candidates.labels)):
            log(f"{wrong:,} groups of near duplicates have images of several classes: some of these labels are wrong")
    if doubtful:
        found.append(suspects(candidates.probabilities, candidates.labels))
        log(f"left out because the proxy firmly contradicts their label: {len(found[-1]):,} images")
    return np.setdiff1d(np.concatenate(found), already)
