"""Folds of a cross-validation: stratified, seeded parts of the images, the same on every machine."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from shoestring.data.label_split import label_folds
from shoestring.errors import UserError
from shoestring.tasks import SINGLE_LABEL, task_of

MAX_STRATIFIED = 1000  # groups; dividing more takes seconds, and random draws of so many are balanced as well


def fold_numbers(
    labels: NDArray[np.int64],
    count: int,
    *,
    classes: Sequence[str],
    seed: int,
    groups: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Return the fold of each image (N,), from 0 to `count` - 1, from its label (N,), or several of 0 and 1 (N, L).

    Every fold has about the same number of images of each class or label. With `groups` (N,), images of one group are
    in the same fold, and the numbers are as equal as the groups allow. Raises `UserError` for more folds than a class
    has images or groups, for a label of one image or group, and if all images of a class or label are in one fold.
    """
    _check_counts(labels, count, classes, groups)
    task = task_of(labels)
    if task == SINGLE_LABEL:
        numbers = np.zeros(len(labels), dtype=np.int64)
        for number, held in enumerate(_parts(labels, count, seed, groups)):
            numbers[held] = number
    else:
        numbers = label_folds(labels, count, seed=seed, groups=groups)
    for index in np.flatnonzero(task.counts(labels, len(classes))).tolist():
        if len(np.unique(numbers[task.has(labels, index)])) < 2:
            why = "" if groups is None else ", because folds consist of whole groups"
            raise UserError(
                f"all images of {task.noun} '{classes[index]}' are in one fold{why}: add images"
                + ("." if groups is None else " of more groups.")
            )
    return numbers


def _check_counts(
    labels: NDArray[np.int64], count: int, classes: Sequence[str], groups: NDArray[np.int64] | None
) -> None:
    """Raise `UserError` for too few images or groups: of each class one for each fold, of each of several labels two.

    A fold without a label is no fault, as rare labels are common.
    """
    task, units = task_of(labels), np.arange(len(labels)) if groups is None else groups
    what = "image" if groups is None else "group of images"
    found = {
        index: len(np.unique(units[task.has(labels, index)]))
        for index in np.flatnonzero(task.counts(labels, len(classes))).tolist()
    }
    index = min(found, key=found.__getitem__)
    least = count if task == SINGLE_LABEL else 2
    if found[index] < least:
        needed = f"the {count} folds" if task == SINGLE_LABEL else "the two that training and test need"
        have, advice = _number(found[index], what), f"add images, or remove the {task.noun}"
        if found[index] > 1:
            advice = f"use --folds {found[index]}, or add images"
        raise UserError(f"{task.noun} '{classes[index]}' has {have}, fewer than {needed}: {advice}.")
    if (total := len(np.unique(units))) < count:
        raise UserError(f"there are {_number(total, what)}, fewer than the {count} folds: use --folds {total}.")


def _number(count: int, what: str) -> str:
    """Return "3 images" or "1 group of images"."""
    noun, _, of = what.partition(" ")
    return f"{count} {noun}{'s' * (count != 1)}{' ' * bool(of)}{of}"


def _parts(
    labels: NDArray[np.int64], count: int, seed: int, groups: NDArray[np.int64] | None
) -> Iterator[NDArray[np.int64]]:
    """Yield the indices of each fold."""
    from sklearn.model_selection import StratifiedKFold

    if groups is None:
        folds = StratifiedKFold(count, shuffle=True, random_state=seed % 2**32)
        yield from (held for _, held in folds.split(labels, labels))
    elif len(names := np.unique(groups)) > MAX_STRATIFIED:
        shuffled = np.random.default_rng(seed).permutation(names)
        yield from (np.flatnonzero(np.isin(groups, part)) for part in np.array_split(shuffled, count))
    else:
        yield from group_folds(labels, groups, count, seed)


def group_folds(
    labels: NDArray[np.int64], groups: NDArray[np.int64], count: int, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Yield the ascending indices of each of `count` folds of whole groups, stratified by label (N,)."""
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about classes with fewer images than folds
        for _, held in splitter.split(labels, labels, groups):
            yield held
