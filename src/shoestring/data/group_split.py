"""Splits that keep the images of one group (a patient, a burst, a video) together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.data.folds import MAX_STRATIFIED, group_folds
from shoestring.data.tables import is_missing
from shoestring.errors import UserError
from shoestring.tasks import SINGLE_LABEL, task_of

_MAX_FOLDS = 10  # of which one is held out; the time grows with their number
_DRAWS = 20


def group_indices(ids: NDArray[np.str_], groups: Mapping[str, str]) -> NDArray[np.int64]:
    """Return the index (N,) of each image's group; an image without one is a group of its own."""
    keys = [(0, groups[name]) if name in groups else (1, name) for name in ids.tolist()]
    known = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    return np.array([known[key] for key in keys], dtype=np.int64)


def groups_by_name(splits: Mapping[str, NDArray[np.str_]], pattern: str) -> dict[str, str]:
    """Return the groups of images by name: the text that a regular expression matches in it, or its first parentheses.

    `splits` are the names (N,) of the images of each split. Raises `UserError` if no name of `train` matches, and for
    groups in two splits.
    """
    expression, groups, split_of = re.compile(pattern), dict[str, str](), dict[str, str]()
    for split, ids in splits.items():
        for name in ids.tolist():
            match = expression.search(name)
            text = "" if match is None else match[1] if expression.groups else match[0]
            if not text:
                continue
            groups[name] = text
            if split_of.setdefault(text, split) != split:
                raise UserError(
                    f"group '{text}' of --group has images in {split_of[text]} and {split}: keep them in one split."
                )
    if "train" not in split_of.values():
        raise UserError(f"--group '{pattern}' matches no image, such as '{splits['train'][0]}': correct it.")
    return groups


def group_codes(groups: Any, count: int) -> NDArray[np.int64]:
    """Return the index (N,) of each image's group from values of any type, such as numbers or names of patients.

    An image with a missing value (None, NaN) is a group of its own. Raises `UserError` unless there is a value for each
    of `count` images.
    """
    values = np.asarray(groups, dtype=object)
    if values.shape != (count,):
        raise UserError(f"groups has shape {values.shape}; expected one value for each of {count:,} images.")
    names = {str(index): str(value) for index, value in enumerate(values.tolist()) if not is_missing(value)}
    return group_indices(np.arange(count).astype(str), names)


def hold_out_groups(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    size: int,
    *,
    classes: Sequence[str],
    seed: int,
    free: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split `labels`, (N,) or (N, classes), into indices to keep and about `size` to hold out, in whole groups.

    Both are ascending. The groups held out are a fold of scikit-learn's stratified folds of groups, or of more than
    1,000 groups, or for images with several labels each, one of 20 random draws: one that leaves no class without
    images, has as many classes as possible, and the numbers of images of each class closest to those wanted. Groups
    with an image that is not `free` (N,) are kept. Raises `UserError` if there is no such division.
    """
    task = task_of(labels)
    usable = np.arange(len(labels)) if free is None else np.flatnonzero(~np.isin(groups, groups[~free]))
    wanted = max(round(len(usable) / max(size, 1)), 2)
    count = len(np.unique(groups[usable]))
    folds = int(min(wanted, _MAX_FOLDS, count, task.counts(labels[usable], len(classes)).max()))
    if folds < 2:
        raise UserError(
            "images are held out in whole groups, and there are too few of them: add images of more groups."
        )
    stratified = count <= MAX_STRATIFIED and task == SINGLE_LABEL
    divided = (
        group_folds(labels[usable], groups[usable], folds, seed) if stratified else _draws(groups[usable], wanted, seed)
    )
    counts = task.counts(labels, len(classes))

    def quality(held: NDArray[np.int64]) -> tuple[int, int, float]:
        part = task.counts(labels[held], len(classes))
        distance = np.abs(part - counts * (len(usable) / wanted / len(labels))).sum()
        return int((counts > part).sum()), int((part > 0).sum()), -float(distance)

    held = max((usable[part] for part in divided if len(part)), key=quality)
    kept = np.setdiff1d(np.arange(len(labels)), held)
    if len(without := np.flatnonzero((counts > 0) & (task.counts(labels[kept], len(classes)) == 0))):
        raise UserError(
            f"images are held out in whole groups, and all images of {task.noun} '{classes[without[0]]}' are in the "
            "same groups: add images of more groups, or add a column with the split of each image."
        )
    if stratified and wanted > folds:
        held = _whole_groups(held, groups, size, seed)
        kept = np.setdiff1d(np.arange(len(labels)), held)
    return kept, held


def _draws(groups: NDArray[np.int64], wanted: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield the ascending indices of one of `wanted` parts of the groups, drawn at random several times."""
    from sklearn.model_selection import GroupShuffleSplit

    splitter = GroupShuffleSplit(_DRAWS, test_size=1 / wanted, random_state=seed % 2**32)
    for _, held in splitter.split(groups, groups=groups):
        yield held


def _whole_groups(indices: NDArray[np.int64], groups: NDArray[np.int64], size: int, seed: int) -> NDArray[np.int64]:
    """Return the ascending indices of groups drawn at random, at most `size` of them, or those of one group."""
    drawn = np.random.default_rng(seed).permutation(np.unique(groups[indices]))
    sizes = np.bincount(groups[indices])[drawn]
    return indices[np.isin(groups[indices], drawn[: max(1, int((np.cumsum(sizes) <= size).sum()))])]
