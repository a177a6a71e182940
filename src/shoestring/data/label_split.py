"""Seeded splits of images with several labels each, stratified by all labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_TIE = 1e-9  # differences below it are errors of rounding


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


def label_folds(
    labels: NDArray[np.int64], count: int, *, seed: int, groups: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Return the fold of each row (N,), from 0 to `count` - 1, of `labels`, 0 or 1 (N, L), stratified by label.

    As in iterative stratification (Sechidis et al. 2011), the images of the label that fewest are left of come first,
    and those without labels last. Each goes to the fold that lacks most of its labels and of images, as a fraction of
    what the fold should have. Images of one of the `groups` (N,) go together.
    """
    rng, units = np.random.default_rng(seed), np.arange(len(labels))
    if groups is not None:
        units = np.unique(groups, return_inverse=True)[1]
    totals = np.zeros((units.max() + 1, labels.shape[1] + 1))  # of each unit: images with each label, and all images
    np.add.at(totals, units, np.column_stack([labels, np.ones(len(labels), dtype=np.int64)]))
    part = np.maximum(totals.sum(0), 1) / count
    lacking, folds = np.ones((count, len(part))), np.full(len(totals), -1)
    order = rng.permutation(len(totals))
    order = order[np.argsort(-totals[order, -1], kind="stable")]  # large groups first: small ones fill what is left
    while len(order):
        left = (totals[order] > 0).sum(0)
        label = np.where(left > 0, left, len(totals) + 1).argmin()  # the last one is that of all images
        chosen = totals[order, label] > 0
        for unit in order[chosen]:
            needs = lacking @ totals[unit]
            best = np.flatnonzero(needs > needs.max() - _TIE)
            folds[unit] = fold = best[rng.integers(len(best))]
            lacking[fold] -= totals[unit] / part
        order = order[~chosen]
    return folds[units]
