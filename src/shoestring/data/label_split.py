"""Seeded splits of images with several labels each, stratified by all labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def hold_out_labels(labels: NDArray[np.int64], size: int, *, seed: int) -> NDArray[np.int64]:
    """Return ascending indices of about `size` rows of `labels`, 0 or 1 (N, L), stratified by label.

    The images of the rarest label that is left are divided first, then those of the next one, and last the images
    without labels: iterative stratification (Sechidis et al. 2011) for two parts. No label is held out completely, and
    one of two images or more is in both parts where possible.
    """
    rng = np.random.default_rng(seed)
    totals = labels.sum(0)
    wanted = totals * (size / len(labels))
    free, held = np.ones(len(labels), dtype=bool), np.zeros(len(labels), dtype=bool)
    protected = (labels[:, totals == 1] > 0).any(1)
    free[protected] = False
    for label in np.argsort(totals, kind="stable"):
        rows = np.flatnonzero(free & (labels[:, label] > 0))
        if not len(rows):
            continue
        has = labels[:, label] > 0
        kept, already = int((has & ~free & ~held).sum()), int((has & held).sum())
        least, most = (0 if already else 1), len(rows) - (0 if kept else 1)
        count = int(np.clip(round(wanted[label] - already), min(least, most), most))
        held[rng.permutation(rows)[:count]] = True
        free[rows] = False
    rows = np.flatnonzero(free)  # without labels
    held[rng.permutation(rows)[: max(size - int(held.sum()), 0)]] = True
    while (missing := (totals > 0) & (labels[~held].sum(0) == 0)).any():  # all held out, beside other labels
        rows = np.flatnonzero(held)
        held[rows[labels[rows][:, missing].sum(1).argmax()]] = False
    return np.flatnonzero(held)
