"""Which images are held out of train: stratified, seeded, and the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from shoestring.data.images import Images
from shoestring.errors import UserError

TEST_SHARE = 0.2  # of train, when the source has no test split
MOST_VALIDATION = 2500  # more images would only make the estimate dearer, not better


def hold_out(labels: NDArray[np.int64], size: int, *, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows (kept, held) of `labels` (N,), both ascending: `size` rows are held, every class in proportion.

    Every class that occurs gives at least one row and keeps at least one, so `size` is met as nearly as that allows.
    The rows within a class are drawn at random by `seed`.
    """
    present, position, counts = np.unique(labels, return_inverse=True, return_counts=True)
    assert counts.min() >= 2, "a class with one image cannot be on both sides"
    take = _shares(counts, min(max(size, len(present)), len(labels) - len(present)))
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(position == index))[:count] for index, count in enumerate(take)]
    held = np.sort(np.concatenate(drawn))
    return np.setdiff1d(np.arange(len(labels)), held), held


def _shares(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """How many of `size` each class gives: by largest remainder, between one and all but one."""
    quota = size * counts / counts.sum()
    take = np.clip(np.floor(quota).astype(np.int64), 1, counts - 1)
    while take.sum() < size:
        take[np.argmax(np.where(take < counts - 1, quota - take, -np.inf))] += 1
    while take.sum() > size:
        take[np.argmax(np.where(take > 1, take - quota, -np.inf))] -= 1
    return take


def divide(
    splits: Mapping[str, Images], *, validation: float, seed: int, keep: NDArray[np.int64] | None = None
) -> tuple[dict[str, Images], list[str]]:
    """Train, validation and test from the splits that a source has, and notes on what was held out of train.

    Without a test split a fifth of train becomes test; without a validation split `validation` (a share of train,
    at most 2,500 images) is held out of the rest. The images of train at the places `keep` stay in train, and as many
    others are held out. `UserError` when a class has too few images for that.
    """
    if not 0 < validation < 1:
        raise UserError(f"validation is a share of the training images between 0 and 1, not {validation}.")
    complete, notes = dict(splits), []
    _check_enough(complete["train"], needed=1 + sum(name not in splits for name in ("validation", "test")))
    if "test" not in splits:
        size = round(TEST_SHARE * len(complete["train"]))
        complete["train"], complete["test"] = _part(complete["train"], size, seed, keep)
        notes.append(f"there is no test split: {len(complete['test']):,} images, a fifth of each class, were held out.")
    if "validation" not in splits:
        size = min(round(validation * len(complete["train"])), MOST_VALIDATION)
        complete["train"], complete["validation"] = _part(complete["train"], size, seed, keep)
    return complete, notes


def _part(images: Images, size: int, seed: int, keep: NDArray[np.int64] | None) -> tuple[Images, Images]:
    """What stays and what is held out; `keep` are rows of the store."""
    if keep is None:
        kept, held = hold_out(images.targets, size, seed=seed)
        return images[kept], images[held]
    free = np.flatnonzero(~np.isin(images.rows, keep))
    _check_enough(images[free], needed=2)
    held = free[hold_out(images.targets[free], size, seed=seed)[1]]
    return images[np.setdiff1d(np.arange(len(images)), held)], images[held]


def _check_enough(train: Images, *, needed: int) -> None:
    counts = train.counts()
    least = int(counts.argmin())
    if (count := int(counts[least])) < needed:
        raise UserError(
            f"class '{train.classes[least]}' has {count} training image{'s' * (count != 1)}, and "
            f"{needed} are needed to hold some out: add images, or bring test and validation images of your own."
        )
