"""Splits that keep the images of one group (a patient, a burst, a video) together."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from shoestring.errors import UserError

_MAX_FOLDS = 10  # of which one is held out; the time grows with their number


def group_indices(ids: NDArray[np.str_], groups: Mapping[str, str]) -> NDArray[np.int64]:
    """Return the index (N,) of each image's group; an image without one is a group of its own."""
    keys = [(0, groups[name]) if name in groups else (1, name) for name in ids.tolist()]
    known = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    return np.array([known[key] for key in keys], dtype=np.int64)


def hold_out_groups(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    size: int,
    *,
    classes: Sequence[str],
    seed: int,
    free: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split `labels` (N,) into indices to keep and about `size` indices to hold out, both ascending, in whole groups.

    The groups held out are a fold of scikit-learn's stratified folds of groups, which have similar numbers of images
    of each class: one that leaves no class without images, and has as many classes as possible. Groups with an image
    that is not `free` (N,) are kept. Raises `UserError` if there is no such fold.
    """
    usable = np.arange(len(labels)) if free is None else np.flatnonzero(~np.isin(groups, groups[~free]))
    wanted = max(round(len(usable) / max(size, 1)), 2)
    folds = min(wanted, _MAX_FOLDS, len(np.unique(groups[usable])), np.bincount(labels[usable], minlength=1).max())
    if folds < 2:
        raise UserError(
            "images are held out in whole groups, and there are too few of them: add images of more groups."
        )
    candidates = [usable[held] for held in _folds(labels[usable], groups[usable], int(folds), seed) if len(held)]
    divided = [(np.setdiff1d(np.arange(len(labels)), held), held) for held in candidates]
    kept, held = max(divided, key=lambda pair: [*(len(np.unique(labels[part])) for part in pair), -len(pair[1])])
    if len(without := np.setdiff1d(labels, labels[kept])):
        raise UserError(
            f"images are held out in whole groups, and all images of class '{classes[without[0]]}' are in the same "
            "groups: add images of more groups, or say in a column which split each image belongs to."
        )
    if wanted > folds:
        held = _whole_groups(held, groups, size, seed)
        kept = np.setdiff1d(np.arange(len(labels)), held)
    return kept, held


def _folds(labels: NDArray[np.int64], groups: NDArray[np.int64], count: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield the ascending indices of each fold."""
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about classes with fewer images than folds
        for _, held in splitter.split(labels, labels, groups):
            yield held


def _whole_groups(indices: NDArray[np.int64], groups: NDArray[np.int64], size: int, seed: int) -> NDArray[np.int64]:
    """Return the ascending indices of groups drawn at random, at most `size` of them, or those of one group."""
    drawn = np.random.default_rng(seed).permutation(np.unique(groups[indices]))
    sizes = np.bincount(groups[indices])[drawn]
    return indices[np.isin(groups[indices], drawn[: max(1, int((np.cumsum(sizes) <= size).sum()))])]
