"""`load`: one function for every source."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shoestring.config import registry
from shoestring.config.paths import expanded
from shoestring.data.build import SMALL, bad_image, build, check_classes, check_train_split
from shoestring.data.cache import Entry, build_entry, entry_folder, open_entry
from shoestring.data.decode import VERSION, resize
from shoestring.data.formats import quiet
from shoestring.data.images import Dataset, Images, seal
from shoestring.data.listing import Source, class_names, composed, listed
from shoestring.data.parquet import parquet_files
from shoestring.data.sources.arrays import arrays, class_values, to_indices, to_pixels
from shoestring.data.sources.digits import digits
from shoestring.data.sources.folder import folder, unlabelled
from shoestring.data.sources.hub import hub
from shoestring.data.sources.torchvision import NAMES, torchvision
from shoestring.data.split import divide
from shoestring.errors import UserError, unknown
from shoestring.suggestions import MIN_SIMILARITY, nearest

# a digit or letter in a mirror, or a road sign, is another one or none
_NOT_MIRRORED = {"digits", "mnist", "kmnist", "emnist", "qmnist", "svhn", "usps", "gtsrb"}
_FILES = {".npz", ".npy", ".zip", ".tar", ".gz", ".parquet", ".csv", ".png", ".jpg", ".jpeg"}  # no names of the Hub


def load(
    source: str | Path,
    *,
    resolution: int | None = None,
    validation: float = 0.1,
    split_seed: int = 0,
    skip_bad: bool = False,
    keep: NDArray[np.int64] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Train, validation and test images of a source, decoded once into the image cache.

    `source` is a folder of class folders (with or without `train`, `val` and `test` above them), a folder of Parquet
    files, an `.npz` file, a data set that torchvision downloads, a Hub id `owner/name`, or `digits`; a source's own
    name and a colon before it (`hub:`, `folder:`) settle doubts. Images become squares of `resolution` pixels; without
    it they keep their size up to 64 and become 64 above. Where the source has no test split a fifth of train becomes
    test, and where it has no validation split the share `validation` of train, at most 2,500 images, is held out:
    stratified, drawn by `split_seed`; the images of the source's train split at the places `keep` (K,) are not, so
    that a published list of training images can be trained on whole. Files that are no images by name and content are
    left out and counted in `notes`; `skip_bad` leaves broken images out as well, and `skipped` lists them.
    `progress(done, total)` is called while images are decoded; `total` is 0 when it is not known.

    `UserError`, one line each: no such source, no images, unreadable images, one class, missing labels, a test class
    that train lacks, a class too small to be split, no network, no room for the cache.
    """
    if resolution is not None and resolution < 1:
        raise UserError(f"resolution is a number of pixels of 1 or more, not {resolution}.")
    place = locate(str(source))
    entry = _entry(place, resolution=resolution, skip_bad=skip_bad, progress=progress)
    for images in entry.splits.values():
        images.mirrored = _mirrored(place.name)
    if keep is not None and len(keep) and not 0 <= keep.min() <= keep.max() < len(entry.splits["train"]):
        count = len(entry.splits["train"])
        raise UserError(f"place {keep.max()} is listed, and {place.name} has {count:,} training images.")
    splits, notes = divide(entry.splits, validation=validation, seed=split_seed, keep=keep)
    splits["train"].skipped = entry.skipped
    return Dataset(place.name, splits["train"], splits["validation"], splits["test"], notes=(*_notes(entry), *notes))


def load_split(
    source: str | Path,
    split: str | None = None,
    *,
    classes: Sequence[str],
    resolution: int,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] | None = None,
    log: Callable[[str], None] = lambda note: None,
) -> Images:
    """One split of a source as it is, nothing held out, with labels that count the given `classes`.

    Without a name it is the test split, or all images of a source that has no splits. `say` takes notes on what was
    left out. `UserError` for a split that the source does not have, and for a class that is not among `classes`.
    """
    entry = _entry(locate(str(source)), resolution=resolution, skip_bad=skip_bad, trained_on=False, progress=progress)
    for note in _notes(entry):
        log(note)
    name = split or next(name for name in ("test", "train", *entry.splits) if name in entry.splits)
    if name not in entry.splits:
        raise unknown(f"split of {source}", name, entry.splits)
    images = entry.splits[name]
    known = {composed(name): position for position, name in enumerate(classes)}
    index = np.full(len(images.classes), -1)
    for code in np.flatnonzero(images.counts()):
        if images.classes[code] not in known:
            raise unknown(f"class in {source}", images.classes[code], classes, hint="Classes are the model's.")
        index[code] = known[images.classes[code]]
    found = Images(images.pixels, index[images.targets], classes, images.ids, fingerprint=images.fingerprint)
    found.skipped = entry.skipped
    return found


def load_unlabelled(
    source: str | Path,
    *,
    resolution: int | None = None,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] | None = None,
    log: Callable[[str], None] = lambda note: None,
) -> Images:
    """The images of a source without their labels, if it has any: of a folder all files in it, of others train.

    A folder with a folder `train` gives the images in that one. `say` takes notes on what was left out. Raises
    `UserError` as `load` does.
    """
    place = _unlabelled(str(source))
    entry = _entry(place, resolution=resolution, skip_bad=skip_bad, trained_on=False, progress=progress)
    for note in _notes(entry):
        log(note)
    images = next(iter(entry.splits.values()))
    name = f"{images.fingerprint} without labels"
    digest = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
    mirrored = _mirrored(place.name)
    found = Images(images.pixels, None, (), images.ids, fingerprint=digest, mirrored=mirrored)
    found.skipped = entry.skipped
    return found


def source_key(source: str | Path, *, labels: bool = True) -> str:
    """What changes whenever a file of the source does, found out without reading the files; without labels or with.

    `UserError` as `load` raises it when there is no such source.
    """
    return (locate(str(source)) if labels else _unlabelled(str(source))).key


def _unlabelled(source: str) -> Source:
    path = expanded(source)
    return unlabelled(source) if path.is_dir() and not parquet_files(path) else locate(source)


def _mirrored(name: str) -> bool:
    return name.rpartition("/")[2].lower() not in _NOT_MIRRORED


def from_arrays(
    images: ArrayLike,
    labels: ArrayLike,
    *,
    classes: Sequence[str] | None = None,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    resolution: int | None = None,
    validation: float = 0.1,
    split_seed: int = 0,
) -> Dataset:
    """A data set of images in memory, (N, H, W) or (N, H, W, C), uint8 or floats in 0..1; nothing is cached on disk.

    `labels` (N,) are integers or names; with `classes` they are indices into it, or its names. `test` is images and
    labels; without it the test split is empty, because every image was given to train on. `resolution` and
    `validation` are those of `load`. `UserError` for arrays of other shapes, types or ranges, and for one class.
    """
    values = class_values(labels, classes)
    names = class_names(values if classes is None else classes)
    pixels = to_pixels(images)
    side = resolution or min(*pixels.shape[1:3], SMALL)
    splits = {"train": in_memory(pixels, to_indices(labels, values, count=len(pixels)), classes=names, resolution=side)}
    check_classes(splits["train"].targets, names)
    if test is None:
        splits["test"] = splits["train"][:0]
    else:
        pixels = to_pixels(test[0], what="test images")
        indices = to_indices(test[1], values, count=len(pixels), what="test labels")
        splits["test"] = in_memory(pixels, indices, classes=names, resolution=side, name="test")
    splits, _ = divide(splits, validation=validation, seed=split_seed)
    return Dataset("arrays", splits["train"], splits["validation"], splits["test"])


def in_memory(
    images: ArrayLike,
    labels: NDArray[np.int64] | None,
    *,
    classes: Sequence[str],
    resolution: int | None = None,
    name: str = "train",
    mirrored: bool = True,
) -> Images:
    """Images of arrays as `to_pixels` takes them, with labels (N,) that count `classes`, or None.

    Sides above 64 pixels become 64 where no `resolution` is given.
    """
    classes = class_names(classes)
    pixels = to_pixels(images)
    pixels = resize(pixels, resolution=resolution or min(*pixels.shape[1:3], SMALL), channels=pixels.shape[3])
    digest = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16)
    ids = np.array([f"{name}/{index:05d}" for index in range(len(pixels))])
    given = labels if labels is not None else np.array([], dtype=np.int64)
    fingerprint = seal(digest, pixels.shape[1:], given, classes)
    return Images(pixels, labels, classes, ids, fingerprint=fingerprint, mirrored=mirrored)


def _entry(
    place: Source,
    *,
    resolution: int | None,
    skip_bad: bool,
    trained_on: bool = True,
    progress: Callable[[int, int], None] | None,
) -> Entry:
    folder = entry_folder(place.name, place.location, resolution, VERSION)
    entry = open_entry(folder, place.key)
    if entry is not None and entry.skipped and not skip_bad:
        raise bad_image(*entry.skipped[0])
    if entry is None:
        more = {"key": place.key, "resolution": resolution, "skip_bad": skip_bad, "trained_on": trained_on}
        with quiet():  # libraries that read images warn of what they read all the same
            entry = build_entry(folder, place.key, partial(build, place.read(), **more, progress=progress))
    if trained_on:
        check_train_split(entry.splits, entry.meta["without_train"])
        check_classes(entry.splits["train"].targets, entry.splits["train"].classes)
    return entry


def _notes(entry: Entry) -> list[str]:
    notes = list(entry.meta["notes"])
    if others := entry.meta["others"]:
        what = "file that is no image" if len(others) == 1 else "files that are no images"
        notes.append(f"{len(others):,} {what} left out: {listed(others)}.")
    if skipped := [where for where, _ in entry.skipped]:
        notes.append(f"{len(skipped):,} unreadable image{'s' * (len(skipped) != 1)} left out: {listed(skipped)}.")
    return notes


def locate(source: str) -> Source:
    """The source that a path or a name means; a path that exists comes first. `UserError` when there is none."""
    kind, colon, where = source.partition(":")
    if not (where if colon and kind != "digits" else source).strip():
        raise UserError("the data have no name: expected a folder, an .npz file, a Hub id or the name of a data set.")
    if colon and kind in registry.names("data"):
        return registry.find("data", kind)(where)
    path = expanded(source)
    if _is(path.is_dir):
        return hub(source) if parquet_files(path) else folder(source)
    if _is(path.is_file):
        if path.suffix.lower() == ".npz":
            return arrays(source)
        raise UserError(f"{source} is a file: expected a folder of class folders or Parquet files, or an .npz file.")
    name = re.sub("[-_ ]", "", source).lower()
    if name == "digits":
        return digits()
    if name in NAMES:
        return torchvision(name)
    named = re.fullmatch(r"([\w-][\w.-]*)/[\w.-]+(@[\w./-]+)?", source)
    if named and not _is(path.parent.is_dir) and path.suffix.lower() not in _FILES and not _like(named[1], "."):
        return hub(source)
    raise _missing(source, as_hub=named is not None)


def _is(what: Callable[[], bool]) -> bool:
    """What a path says of itself; no where the system cannot tell, as of a name that is too long."""
    try:
        return what()
    except OSError:
        return False


def _like(name: str, folder: str | Path) -> str | None:
    """What else is most like this name in a folder, if anything is very much like it."""
    try:
        beside = {one.name.lower(): one.name for one in Path(folder).iterdir() if one.name != name}
    except OSError:
        return None
    near = difflib.get_close_matches(name.lower(), beside, n=1, cutoff=MIN_SIMILARITY)
    return beside[near[0]] if near else None


def _missing(source: str, *, as_hub: bool) -> UserError:
    """No such path or name, with the nearest one: on the disk, or a data set known by name."""
    place, near = Path(source), nearest(source, {"digits", *NAMES} - {source})
    if beside := _like(place.name, expanded(place.parent)):
        near = str(place.parent / beside)
    elif beside := _like(place.parts[0], "."):
        near = str(Path(beside, *place.parts[1:]))
    guess = f" Did you mean '{near}'?" if near else ""
    if as_hub:
        return UserError(f"no folder or file '{source}'.{guess} If it is a Hub id, write hub:{source}.")
    return UserError(
        f"no folder, file or data set '{source}'.{guess} Expected a folder of class folders or of Parquet files, "
        f"an .npz file, a Hub id owner/name, or one of: digits, {', '.join(NAMES)}."
    )
