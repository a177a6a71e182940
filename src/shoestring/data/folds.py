"""Folds of a cross-validation: stratified, seeded parts of the images, the same on every machine."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shoestring.errors import UserError
from shoestring.tasks import SINGLE_LABEL, task_of

_MAX_STRATIFIED = 1000  # groups; dividing more takes seconds, and random draws of so many are balanced as well


def fold_numbers(
    labels: NDArray[np.int64],
    count: int,
    *,
    classes: Sequence[str],
    seed: int,
    groups: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Return the fold of each image (N,), from 0 to `count` - 1, from its label (N,).

    Every fold has about the same number of images of each class. With `groups` (N,), images of one group are in the
    same fold, and the numbers are as equal as the groups allow. Raises `UserError` for several labels per image, for
    more folds than a class has images or groups, and if all images of a class would be in one fold.
    """
    if task_of(labels) != SINGLE_LABEL:
        raise UserError(
            "folds are divided by class, and these images have several labels each: omit --folds, and use --seeds."
        )
    _check_counts(labels, count, classes, groups)
    numbers = np.zeros(len(labels), dtype=np.int64)
    for number, held in enumerate(_parts(labels, count, seed, groups)):
        numbers[held] = number
    for label in np.unique(labels):
        if len(np.unique(numbers[labels == label])) < 2:
            raise UserError(
                f"all images of class '{classes[label]}' are in one fold, because folds consist of whole groups: add "
                "images of more groups."
            )
    return numbers


def _check_counts(
    labels: NDArray[np.int64], count: int, classes: Sequence[str], groups: NDArray[np.int64] | None
) -> None:
    units = np.arange(len(labels)) if groups is None else groups
    found = {label: len(np.unique(units[labels == label])) for label in np.unique(labels).tolist()}
    label = min(found, key=found.__getitem__)
    if found[label] >= count:
        return
    number = found[label]
    what = "image" if groups is None else "group of images"
    have = f"{number} {what}" if number == 1 else f"{number} {what.replace('group', 'groups')}"
    have += "s" if groups is None and number != 1 else ""
    advice = f"use --folds {number}, or add images" if number > 1 else "add images, or remove the class"
    raise UserError(f"class '{classes[label]}' has {have}, fewer than the {count} folds: {advice}.")


def _parts(
    labels: NDArray[np.int64], count: int, seed: int, groups: NDArray[np.int64] | None
) -> list[NDArray[np.int64]]:
    """Return the indices of each fold."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    options = {"shuffle": True, "random_state": seed % 2**32}
    if groups is None:
        return [held for _, held in StratifiedKFold(count, **options).split(labels, labels)]
    names = np.unique(groups)
    if len(names) > _MAX_STRATIFIED:
        shuffled = np.random.default_rng(seed).permutation(names)
        return [np.flatnonzero(np.isin(groups, part)) for part in np.array_split(shuffled, count)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about classes with fewer images than folds
        return [held for _, held in StratifiedGroupKFold(count, **options).split(labels, labels, groups)]
