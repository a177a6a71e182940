"""Build a cache entry from a listing: decode in threads, write in order, compute the fingerprint on the way."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shoestring.config.fit import DEFAULT_FIT, Fit
from shoestring.data.cache import cache_write_errors
from shoestring.data.decode import decode, header
from shoestring.data.formats import looks_like_an_image
from shoestring.data.images import finish_fingerprint
from shoestring.data.listing import SAMPLE_SIZE, Item, Listing, class_names
from shoestring.data.pixels import PixelsFile, Progress, Report
from shoestring.errors import UserError
from shoestring.runtime.cores import cores
from shoestring.tasks import task_of

_MAX_BLOCK = 64  # images that one thread decodes at a time
_MAX_BLOCK_BYTES = 16_000_000  # of decoded images and of encoded images
SMALL_SIDE = 64  # pixels; by default, larger images are resized to this side
PHOTO_SIDE = 160  # pixels to which larger images are resized if a pretrained network may be trained on them


@dataclass(frozen=True)
class AtMost:
    """A resolution that images keep up to this side in pixels; larger ones are resized to it."""

    side: int


Resolution = int | AtMost | None  # None: at most SMALL_SIDE


@dataclass(frozen=True)
class Decoding:
    """How encoded images become pixels: side and fit of the squares, and whether unreadable images are skipped."""

    resolution: Resolution = None
    fit: Fit = DEFAULT_FIT
    skip_bad: bool = False


class _Skipped(NamedTuple):
    """An unreadable image and the reason, or a file that is not an image, without a reason."""

    name: str
    reason: str | None


class _Block(NamedTuple):
    pixels: NDArray[np.uint8]
    labels: list[int | tuple[int, ...]]
    ids: list[str]
    skipped: list[_Skipped]


def build(
    listing: Listing,
    folder: Path,
    *,
    key: str,
    decoding: Decoding,
    for_training: bool = True,
    progress: Progress | None,
) -> None:
    """Decode every image of the listing into `folder`: pixels.npy, labels.npy, ids.npy and meta.json.

    Files that are not images, by name and content, are skipped and listed in meta.json; so are unreadable images if the
    decoding skips them. Raises `UserError` for the first unreadable image otherwise, for classes of the same name, and
    with `for_training`, for no train split, a single class, or a class without training images.
    """
    classes = class_names(listing.classes)
    if for_training:
        check_train_split(listing.splits, listing.without_train)
        if len(classes) < 2:
            raise single_class(classes)
    side, notes = choose_resolution(listing, decoding.resolution, decoding.fit)
    channels = 1 if all(_is_grayscale(item) for items in listing.splits.values() for item in items()) else 3
    shape = (side, side, channels)
    _check_disk_space(folder, listing.size, math.prod(shape))
    read = partial(_decode_block, resolution=side, channels=channels, fit=decoding.fit, skip_bad=decoding.skip_bad)
    report = Report(listing.size, progress)
    splits, labels, ids, skipped = {}, [], [], []
    with PixelsFile(folder, shape) as pixels:
        for name, items in listing.splits.items():
            start, digest = len(labels), hashlib.blake2b(digest_size=16)
            for block in _map_in_threads(read, _blocks(items(), math.prod(shape))):
                pixels.write(block.pixels)
                digest.update(block.pixels.data)
                labels += block.labels
                ids += block.ids
                skipped += block.skipped
                report.add(len(block.labels) + len(block.skipped))
            split_labels = np.array(labels[start:], dtype=np.int64)
            if name == "train" and for_training:
                check_classes(split_labels, classes)
            if len(split_labels):
                fingerprint = finish_fingerprint(digest, shape, split_labels, classes)
                splits[name] = {"size": len(split_labels), "fingerprint": fingerprint}
            else:
                notes.append(f"the {name} split has no readable images and is not used.")
    report.close()
    if not splits:
        raise UserError("there are no readable images.")
    meta = {"key": key, "classes": classes, "splits": splits, "resolution": side, "notes": [*listing.notes, *notes]}
    meta["skipped"] = [(name, reason) for name, reason in skipped if reason is not None]
    meta["others"] = [name for name, reason in skipped if reason is None]
    meta["without_train"] = listing.without_train
    with cache_write_errors(folder):
        np.save(folder / "labels.npy", np.array(labels, dtype=np.int64))
        np.save(folder / "ids.npy", np.array(ids, dtype=np.str_))
        (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")


def limited(side: int, resolution: Resolution) -> int:
    """Return the side to which images of this side are resized."""
    if isinstance(resolution, int):
        return resolution
    return min(side, _limit(resolution))


def same_below(resolution: Resolution) -> list[tuple[Resolution, int]]:
    """Return the other limits in use, each with a side in pixels: smaller images are stored alike under both limits."""
    if isinstance(resolution, int):
        return []
    others: tuple[AtMost | None, ...] = (None, AtMost(PHOTO_SIDE))
    return [(other, min(_limit(other), _limit(resolution))) for other in others if other != resolution]


def _limit(resolution: AtMost | None) -> int:
    return SMALL_SIDE if resolution is None else resolution.side


def choose_resolution(listing: Listing, resolution: Resolution, fit: Fit) -> tuple[int, list[str]]:
    """Return the requested resolution, else the median side of the images up to a limit, else the limit with a note."""
    if isinstance(resolution, int):
        return resolution, []
    limit = _limit(resolution)
    sides = []
    for item in listing.sample() if listing.sample else islice(next(iter(listing.splits.values()))(), SAMPLE_SIZE):
        with contextlib.suppress(UserError):  # unreadable images are reported when they are decoded
            sides.append(header(item.image, fit=fit)[0])
    median = int(np.median(sides)) if sides else SMALL_SIDE
    if median <= limit:
        return median, []
    note = f"images of about {median} px were resized to {limit} px: --resolution {median} keeps their size."
    return limit, [note]


def _check_disk_space(folder: Path, images: int, size: int) -> None:
    """Raise `UserError` if so many decoded images of `size` bytes do not fit on the disk."""
    with cache_write_errors(folder):
        free = shutil.disk_usage(folder).free
    if images * size > free:
        raise UserError(
            f"the decoded images take {images * size / 1e9:.1f} GB, and {folder.parent} has {free / 1e9:.1f} GB left. "
            "Free up space, set SHOESTRING_CACHE to a folder on another disk, or choose a smaller --resolution."
        )


def _is_grayscale(item: Item) -> bool:
    try:
        return header(item.image)[1]
    except UserError:
        return True


def _blocks(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    """Group items into blocks of limited size in bytes, of decoded images (`size` bytes each) and of encoded ones."""
    longest = min(_MAX_BLOCK, max(1, _MAX_BLOCK_BYTES // size))
    block, encoded = [], 0
    for item in items:
        block.append(item)
        encoded += len(item.image) if isinstance(item.image, bytes) else 0
        if len(block) == longest or encoded > _MAX_BLOCK_BYTES:
            yield block
            block, encoded = [], 0
    if block:
        yield block


def _map_in_threads(function: Callable[[list[Item]], _Block], blocks: Iterator[list[Item]]) -> Iterator[_Block]:
    """Yield decoded blocks in order, with only a few blocks in memory (Pillow decodes without the GIL)."""
    workers = cores()
    pending = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for block in blocks:
            pending.append(pool.submit(function, block))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_block(items: list[Item], *, resolution: int, channels: int, fit: Fit, skip_bad: bool) -> _Block:
    results = [_try_decode(item, resolution, channels, fit, skip_bad) for item in items]
    decoded = [index for index, result in enumerate(results) if isinstance(result, np.ndarray)]
    return _Block(
        np.array([results[index] for index in decoded], np.uint8).reshape(-1, resolution, resolution, channels),
        [items[index].label for index in decoded],
        [items[index].id for index in decoded],
        [result for result in results if isinstance(result, _Skipped)],
    )


def _try_decode(item: Item, resolution: int, channels: int, fit: Fit, skip_bad: bool) -> NDArray[np.uint8] | _Skipped:
    """Return pixels (H, W, C), or what was skipped and why."""
    try:
        return decode(item.image, resolution=resolution, channels=channels, fit=fit)
    except UserError as error:
        name = str(item.image) if isinstance(item.image, Path) else item.id
        if isinstance(item.image, Path) and not looks_like_an_image(item.image):
            return _Skipped(name, None)
        if not skip_bad:
            raise unreadable(name, str(error)) from None
        return _Skipped(name, str(error))


def unreadable(name: str, reason: str) -> UserError:
    """Return the error for an unreadable image."""
    return UserError(f"cannot read {name}: {reason}. Repair or remove it, or skip such images with --skip-bad.")


def check_train_split(splits: Mapping[str, object], message: str) -> None:
    """Raise `UserError` with this message if there is no train split."""
    if "train" not in splits:
        raise UserError(message)


def single_class(classes: Sequence[str]) -> UserError:
    """Return the error for images of a single class."""
    return UserError(f"only one class ({', '.join(classes)}): a classifier needs images of at least two classes.")


def check_classes(labels: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Raise `UserError` unless there are at least two classes and each has training images."""
    if not len(labels):
        raise UserError("there are no readable training images.")
    if len(classes) < 2:
        raise single_class(classes)
    task = task_of(labels)
    counts = task.counts(labels, len(classes))
    if not counts.all():
        name = classes[int(counts.argmin())]
        raise UserError(f"{task.noun} '{name}' has no training images: add some, or remove the {task.noun}.")
