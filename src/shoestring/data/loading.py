"""`load`: one function for every source."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.config.fit import DEFAULT_FIT, Fit, check_fit
from shoestring.config.fold import Fold, parse_pattern
from shoestring.data.build import (
    Decoding,
    Resolution,
    build,
    check_classes,
    check_train_split,
    same_below,
    unreadable,
)
from shoestring.data.cache import Entry, build_entry, entry_folder, open_entry
from shoestring.data.decode import VERSION
from shoestring.data.formats import quiet
from shoestring.data.group_split import group_indices, groups_by_name
from shoestring.data.images import Dataset, Images
from shoestring.data.label_columns import Labels, as_labels
from shoestring.data.listing import Source, listed, normalized
from shoestring.data.locate import locate, locate_labeled, locate_unlabeled
from shoestring.data.split import make_splits
from shoestring.errors import UserError, unknown
from shoestring.tasks import SINGLE_LABEL, Task, check_same_task

# the mirror image of a digit, letter or road sign is another one, or none
_NOT_MIRRORED = {"digits", "mnist", "kmnist", "emnist", "qmnist", "svhn", "usps", "gtsrb"}


def load(  # noqa: PLR0913 (public: keywords with defaults)
    source: str | Path,
    *,
    labels: Any = None,
    path_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    resolution: Resolution = None,
    fit: Fit = DEFAULT_FIT,
    validation: float = 0.1,
    split_seed: int = 0,
    group: str | None = None,
    fold: str | Fold | None = None,
    fold_split: Literal["test", "validation"] = "test",
    skip_bad: bool = False,
    keep: NDArray[np.int64] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Load train, validation and test images of a source, decoded once into the image cache.

    `source` is a folder of class folders (with or without `train`, `val` and `test` above them), a folder of Parquet
    files, an `.npz` file, a data set that torchvision downloads, a Hub id `owner/name`, or `digits`; prefix the name of
    the source and a colon (`hub:`, `folder:`) if it is ambiguous. Images are resized to squares of `resolution` pixels;
    by default they keep their size up to 64 and are resized to 64 above (`AtMost(160)` is another limit). `fit` is how
    a rectangle becomes a square: "crop" (the center), "squash" or "pad" (with gray). Without a test split, a fifth of
    train becomes test; without a validation split, the fraction `validation` of train, at most 2,500 images, is held
    out. Both are stratified and drawn with `split_seed`, and exclude the indices `keep` (K,) of the source's train
    split, so that a published list of training images can be trained on completely. With `group`, a regular expression,
    images in whose names it matches the same text (that of its first parentheses, if it has any) are never in two
    splits. With `fold`, such as "2/5", the second of five stratified parts of train becomes test, instead of any other
    images, for a cross-validation; with `fold_split="validation"` it becomes validation, and test stays as it is. Files
    that are not images, by name and content, are skipped and counted in `notes`; with `skip_bad`, so are unreadable
    images, which `skipped` lists.
    `progress(done, total)` is called while images are decoded; `total` is 0 if unknown.

    With `labels`, a CSV or Parquet file or a data frame (pandas, Polars), `source` is a folder of images in any layout,
    of which those are loaded that this table lists. Its columns of paths and labels are found by their usual names, or
    are `path_column` and `label_column`: a column of classes, or several columns of 0 and 1, one for each of the labels
    that an image may have ("cat,dog" or a list). `split_column` (by default a column called split, if there is one;
    "none" ignores it) holds train, validation or test. Images with the same value in `group_column` are never in two
    splits; one without a value is a group of its own.

    Raises `UserError`, with one line each: no such source, no images, unreadable images, a single class, missing
    labels, a test class that is not in train, a class too small to split or for the folds, a `group` that matches no
    name, no network, no space for the cache; and for `labels`: no such column, images that do not exist or are listed
    twice, empty cells, other values than 0 and 1 in one of several columns, a label that never occurs, a group in two
    splits.
    """
    if fold_split not in ("test", "validation"):
        raise unknown("split for a fold", fold_split, ("test", "validation"))
    if isinstance(resolution, int) and resolution < 1:
        raise UserError(f"resolution is a number of pixels of 1 or more, not {resolution}.")
    location = _locate(source, as_labels(labels, path_column, label_column, split_column, group_column))
    entry = _load_entry(location, Decoding(resolution, fit, skip_bad), progress=progress)
    for images in entry.splits.values():
        images.mirrored = _mirrored(location.name)
    if keep is not None and len(keep) and not 0 <= keep.min() <= keep.max() < len(entry.splits["train"]):
        count = len(entry.splits["train"])
        raise UserError(f"index {keep.max()} is listed, but {location.name} has {count:,} training images.")
    groups, ids = location.groups, entry.splits["train"].ids
    if group is not None:
        used = {name: images.ids for name, images in entry.splits.items() if fold is None or name != fold_split}
        groups = groups_by_name(used, parse_pattern(group))
    splits, notes = make_splits(
        entry.splits,
        validation=validation,
        seed=split_seed,
        keep=keep,
        groups=None if groups is None else group_indices(ids, groups),
        fold=None if fold is None else Fold.parse(fold),
        fold_split=fold_split,
    )
    splits["train"].skipped = entry.skipped
    notes = (*_notes(entry), *notes)
    return Dataset(location.name, splits["train"], splits["validation"], splits["test"], notes=notes)


def load_split(  # noqa: PLR0913 (keywords with defaults)
    source: str | Path,
    split: str | None = None,
    *,
    classes: Sequence[str],
    task: Task = SINGLE_LABEL,
    resolution: int,
    fit: Fit = DEFAULT_FIT,
    labels: Labels | None = None,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] | None = None,
    log: Callable[[str], None] = lambda note: None,
) -> Images:
    """Load one complete split of a source, with labels that index the given `classes`, or 0 and 1 for each of them.

    By default it is the test split, or all images of a source without splits; with `labels`, of the images of a folder
    that a table lists. `log` is called with notes on skipped files. Raises `UserError` for a split that the source does
    not have, and for a class that is not in `classes`.
    """
    location = _locate(source, labels)
    entry = _load_entry(location, Decoding(resolution, fit, skip_bad), for_training=False, progress=progress)
    for note in _notes(entry):
        log(note)
    name = split or next(name for name in ("test", "train", *entry.splits) if name in entry.splits)
    if name not in entry.splits:
        raise unknown(f"split of {source}", name, entry.splits)
    images = entry.splits[name]
    if labels is None or task == SINGLE_LABEL:  # in a table, each image may happen to have one label
        check_same_task(task, "the model", images.task, f"the images of {source}")
    converted = _as_labels_of(images, classes, task, source=str(source))
    result = Images(images.pixels, converted, classes, images.ids, fingerprint=images.fingerprint)
    result.skipped, result.fit = entry.skipped, fit
    return result


def _as_labels_of(images: Images, classes: Sequence[str], task: Task, *, source: str) -> NDArray[np.int64]:
    """Return the labels of images as those of the given classes. Raises `UserError` for others."""
    known = {normalized(name): index for index, name in enumerate(classes)}
    mapping = np.full(len(images.classes), -1)
    for label in np.flatnonzero(images.counts()):
        if images.classes[label] not in known:
            raise unknown(f"class in {source}", images.classes[label], classes, hint="Classes are the model's.")
        mapping[label] = known[images.classes[label]]
    if task == SINGLE_LABEL:
        return mapping[images.targets]
    occurs, labels = mapping >= 0, np.zeros((len(images), len(classes)), dtype=np.int64)
    rows = images.targets if images.task == task else np.eye(len(mapping), dtype=np.int64)[images.targets]
    labels[:, mapping[occurs]] = rows[:, occurs]
    return labels


def load_unlabeled(
    source: str | Path,
    *,
    resolution: Resolution = None,
    fit: Fit = DEFAULT_FIT,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] | None = None,
    log: Callable[[str], None] = lambda note: None,
) -> Images:
    """Load the images of a source without labels: all files of a folder, the train split of other sources.

    Of a folder that contains a folder `train`, only that one is loaded. `log` is called with notes on skipped files.
    Raises `UserError` as `load` does.
    """
    location = locate_unlabeled(str(source))
    entry = _load_entry(location, Decoding(resolution, fit, skip_bad), for_training=False, progress=progress)
    for note in _notes(entry):
        log(note)
    images = next(iter(entry.splits.values()))
    fingerprint = hashlib.blake2b(f"{images.fingerprint} without labels".encode(), digest_size=16).hexdigest()
    mirrored = _mirrored(location.name)
    result = Images(images.pixels, None, (), images.ids, fingerprint=fingerprint, mirrored=mirrored)
    result.skipped, result.fit = entry.skipped, fit
    return result


def source_key(source: str | Path, *, labels: Labels | None = None, unlabeled: bool = False) -> str:
    """Return a key that changes whenever a file of the source or its table of labels does, without reading the images.

    Raises `UserError` as `load` does if there is no such source.
    """
    return (locate_unlabeled(str(source)) if unlabeled else _locate(source, labels)).key


def _locate(source: str | Path, labels: Labels | None) -> Source:
    return locate(str(source)) if labels is None else locate_labeled(str(source), labels)


def _mirrored(name: str) -> bool:
    return name.rpartition("/")[2].lower() not in _NOT_MIRRORED


def _load_entry(
    location: Source,
    decoding: Decoding,
    *,
    for_training: bool = True,
    progress: Callable[[int, int], None] | None,
) -> Entry:
    """Open the cache entry of a source, or build it."""
    check_fit(decoding.fit)
    entry = _open_entry(location, decoding)
    if entry is not None and entry.skipped and not decoding.skip_bad:
        raise unreadable(*entry.skipped[0])
    if entry is None:
        listing = location.read()
        if listing.missing and not decoding.skip_bad:
            raise UserError(listing.missing)
        build_into = partial(
            build,
            listing,
            key=location.key,
            decoding=decoding,
            for_training=for_training,
            progress=progress,
        )
        with quiet():  # readers warn about images that they can read
            entry = build_entry(_folder(location, decoding.resolution, decoding.fit), location.key, build_into)
    for images in entry.splits.values():
        images.fit = decoding.fit
    if for_training:
        check_train_split(entry.splits, entry.meta["without_train"])
        check_classes(entry.splits["train"].targets, entry.splits["train"].classes)
    return entry


def _open_entry(location: Source, decoding: Decoding) -> Entry | None:
    """Open the cache entry of a source, or one whose images have another limit on their resolution and are below it."""
    entry = open_entry(_folder(location, decoding.resolution, decoding.fit), location.key)
    for resolution, limit in [] if entry else same_below(decoding.resolution):
        other = open_entry(_folder(location, resolution, decoding.fit), location.key)
        if other is not None and other.meta["resolution"] < limit:
            return other
    return entry


def _folder(location: Source, resolution: Resolution, fit: Fit) -> Path:
    return entry_folder(location.name, location.location, resolution, fit, VERSION)


def _notes(entry: Entry) -> list[str]:
    notes = list(entry.meta["notes"])
    if others := entry.meta["others"]:
        what = "file that is not an image" if len(others) == 1 else "files that are not images"
        notes.append(f"skipped {len(others):,} {what}: {listed(others)}.")
    if skipped := [name for name, _ in entry.skipped]:
        notes.append(f"skipped {len(skipped):,} unreadable image{'s' * (len(skipped) != 1)}: {listed(skipped)}.")
    return notes
