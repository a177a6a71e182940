"""Stratified, seeded splits, the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.config.fold import Fold
from shoestring.data.folds import fold_numbers
from shoestring.data.group_split import hold_out_groups
from shoestring.data.images import Images
from shoestring.data.label_split import hold_out_labels
from shoestring.data.listing import listed
from shoestring.errors import UserError

TEST_FRACTION = 0.2  # of train, if the source has no test split
MAX_VALIDATION = 2500  # images; more would make the estimate more expensive, not better
_MAX_NAMES = 5  # classes per note


def hold_out(labels: NDArray[np.int64], size: int, *, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split `labels` (N,) into indices to keep and `size` indices to hold out, both ascending, stratified by class.

    Every class has at least one index on each side, which may change `size`. Indices within a class are drawn at random
    with `seed`.
    """
    present, position, counts = np.unique(labels, return_inverse=True, return_counts=True)
    assert counts.min() >= 2, "a class with one image cannot be on both sides"
    take = _apportion(counts, min(max(size, len(present)), len(labels) - len(present)))
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(position == index))[:count] for index, count in enumerate(take)]
    held = np.sort(np.concatenate(drawn))
    return np.setdiff1d(np.arange(len(labels)), held), held


def _apportion(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Apportion `size` to classes by largest remainder: from one to all but one image of each class."""
    quota = size * counts / counts.sum()
    take = np.clip(np.floor(quota).astype(np.int64), 1, counts - 1)
    while take.sum() < size:
        take[np.argmax(np.where(take < counts - 1, quota - take, -np.inf))] += 1
    while take.sum() > size:
        take[np.argmax(np.where(take > 1, take - quota, -np.inf))] -= 1
    return take


def make_splits(
    splits: Mapping[str, Images],
    *,
    validation: float,
    seed: int,
    keep: NDArray[np.int64] | None = None,
    groups: NDArray[np.int64] | None = None,
    fold: Fold | None = None,
    fold_split: Literal["test", "validation"] = "test",
) -> tuple[dict[str, Images], list[str]]:
    """Return train, validation and test images from the splits of a source, and notes on what was held out of train.

    Without a test split, a fifth of train becomes test; without a validation split, the fraction `validation` of the
    remaining train images, at most 2,500, is held out. Every class keeps at least one image in train: a class that has
    a single one has no test images, and one that has two no validation images. The indices `keep` of train stay in
    train; the same number of other images is held out. With `groups`, one for each image of train, images of one group
    stay together. With a `fold` of train, its images are the `fold_split`, test or validation; those of the source in
    this split are not used. Raises `UserError` if a class has too few groups, or too few images or groups for the
    folds.
    """
    if not 0 <= validation < 1:
        raise UserError(f"validation is a fraction of the training images from 0 to below 1, not {validation}.")
    complete, notes = dict(splits), []
    if fold is not None and fold_split == "test":
        notes.append(_hold_out_fold(complete, fold, fold_split, seed, groups))
    elif "test" not in splits:
        size = round(TEST_FRACTION * len(complete["train"]))
        complete["train"], complete["test"] = _hold_out_images(complete["train"], size, seed, keep, groups)
        how = f"a fifth of each {complete['train'].task.noun}" if groups is None else "about a fifth, in whole groups"
        if len(complete["test"]):
            notes.append(f"there is no test split: {len(complete['test']):,} images, {how}, were held out.")
        notes += _absent(complete["test"], "test", "the accuracy will not be measured")
    if fold is not None and fold_split == "validation":
        notes.append(_hold_out_fold(complete, fold, fold_split, seed, groups))
    elif "validation" not in splits:
        complete["validation"] = complete["train"][:0]
        if validation:
            size = min(round(validation * len(complete["train"])), MAX_VALIDATION)
            complete["train"], complete["validation"] = _hold_out_images(complete["train"], size, seed, keep, groups)
            notes += _absent(complete["validation"], "validation", "the probabilities will not be calibrated")
    return complete, notes


def _hold_out_images(
    images: Images, size: int, seed: int, keep: NDArray[np.int64] | None, groups: NDArray[np.int64] | None
) -> tuple[Images, Images]:
    """Return the kept and the held-out images; `keep` are rows of the store not held out, `groups` are by row, too."""
    if groups is not None:
        unkept = None if keep is None else ~np.isin(images.rows, keep)
        kept, held = hold_out_groups(
            images.targets, groups[images.rows], size, classes=images.classes, seed=seed, free=unkept
        )
        return images[kept], images[held]
    free = np.arange(len(images)) if keep is None else np.flatnonzero(~np.isin(images.rows, keep))
    return _hold_out_of(images, free, size, seed)


def _hold_out_fold(
    splits: dict[str, Images], fold: Fold, split: str, seed: int, groups: NDArray[np.int64] | None
) -> str:
    """Move the images of a fold of train to a split, in place of its own; return a note on it."""
    images, unused = splits["train"], len(splits[split]) if split in splits else 0
    own = None if groups is None else groups[images.rows]
    inside = fold.number - 1 == fold_numbers(images.targets, fold.count, classes=images.classes, seed=seed, groups=own)
    splits["train"], splits[split] = images[np.flatnonzero(~inside)], images[np.flatnonzero(inside)]
    others = f"; the {unused:,} {split} images are not used" if unused else ""
    return f"fold {fold} of the training images, {len(splits[split]):,}, is the {split} split{others}."


def _absent(held: Images, split: str, consequence: str) -> list[str]:
    """Return a note on the classes without held-out images, and on the `consequence` if all are without."""
    absent = [name for name, count in zip(held.classes, held.counts()) if not count]
    if not absent:
        return []
    if len(absent) == len(held.classes):
        return [f"no {held.task.noun} has enough images to hold one out for {split}: {consequence}."]
    return [f"{held.task.nouns} with too few images to hold one out for {split}: {listed(absent, _MAX_NAMES)}."]


def _hold_out_of(images: Images, indices: NDArray[np.int64], size: int, seed: int) -> tuple[Images, Images]:
    """Return the kept and the held-out images; only images at the `indices` are held out, and the last of no class."""
    labels = images.targets[indices]
    if not images.has_one_class_each and len(labels):
        held = indices[hold_out_labels(labels, size, seed=seed)]
        return images[np.setdiff1d(np.arange(len(images)), held)], images[held]
    several = np.bincount(labels, minlength=len(images.classes))[labels] > 1
    if not several.any():
        return images, images[:0]
    indices = indices[several]
    held = indices[hold_out(images.targets[indices], size, seed=seed)[1]]
    return images[np.setdiff1d(np.arange(len(images)), held)], images[held]


def hold_out_validation(
    images: Images, fraction: float | None, *, seed: int, groups: NDArray[np.int64] | None = None
) -> tuple[Images, Images | None]:
    """Return training and validation images; at most 2,500 are held out, and none of a class with a single image.

    Images of one group stay together if there are `groups` (N,). Without a fraction, or if all classes have a single
    image, nothing is held out (None). Raises `UserError` for a fraction that is not between 0 and 1, for groups without
    a fraction, and if a class has too few groups.
    """
    if fraction is None:
        if groups is not None:
            raise UserError("groups divide images into training and validation: set validation_fraction, or omit them.")
        return images, None
    if not 0 < fraction < 1:
        raise UserError(f"validation_fraction must be above 0 and below 1, or None, not {fraction}.")
    size = min(round(fraction * len(images)), MAX_VALIDATION)
    if groups is not None:
        keep, hold = hold_out_groups(images.targets, groups, size, classes=images.classes, seed=seed)
        return images[keep], images[hold]
    kept, held = _hold_out_of(images, np.arange(len(images)), size, seed)
    return kept, held if len(held) else None
