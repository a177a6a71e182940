"""From a listing to pixels on disk: decode in threads, write in order, fingerprint on the way."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shoestring.data.cache import writing
from shoestring.data.decode import decode, header
from shoestring.data.formats import looks_like_an_image
from shoestring.data.images import seal
from shoestring.data.listing import SAMPLE, Item, Listing, class_names
from shoestring.data.pixels import PixelsFile, Progress, Report
from shoestring.errors import UserError

_BLOCK = 64  # images decoded by one thread at a time, at most
_BLOCK_BYTES = 16_000_000  # of decoded and of encoded images, after which a block ends
SMALL = 64  # pixels: up to here images keep their own size, and larger ones are made this small


class _Skipped(NamedTuple):
    """What is left out: an image that is broken, and why; or a file that is no image, for which there is no reason."""

    where: str
    reason: str | None


class _Block(NamedTuple):
    pixels: NDArray[np.uint8]
    labels: list[int]
    ids: list[str]
    skipped: list[_Skipped]


def build(
    listing: Listing,
    folder: Path,
    *,
    key: str,
    resolution: int | None,
    skip_bad: bool,
    trained_on: bool = True,
    progress: Progress | None,
) -> None:
    """Decode every image of the listing into `folder`: pixels.npy, labels.npy, ids.npy and meta.json.

    Files that are no images by name and content are left out and listed in meta.json. `UserError` naming the first
    image that cannot be read, unless `skip_bad`, which leaves such images out and lists them as well; for classes of
    the same name; and for images that cannot be `trained_on`: no train split, one class, a class that has none.
    """
    classes = class_names(listing.classes)
    if trained_on:
        check_train_split(listing.splits, listing.without_train)
        if len(classes) < 2:
            raise one_class(classes)
    side, notes = choose_resolution(listing, resolution)
    channels = 1 if all(_is_grey(item) for items in listing.splits.values() for item in items()) else 3
    shape = (side, side, channels)
    _check_room(folder, listing.size, math.prod(shape))
    decode_block = partial(_decode_block, resolution=side, channels=channels, skip_bad=skip_bad)
    report = Report(listing.size, progress)
    splits, labels, ids, skipped = {}, [], [], []
    with PixelsFile(folder, shape) as pixels:
        for name, items in listing.splits.items():
            start, digest = len(labels), hashlib.blake2b(digest_size=16)
            for block in _in_threads(_blocks(items(), math.prod(shape)), decode_block):
                pixels.write(block.pixels)
                digest.update(block.pixels.data)
                labels += block.labels
                ids += block.ids
                skipped += block.skipped
                report.add(len(block.labels) + len(block.skipped))
            here = np.array(labels[start:], dtype=np.int64)
            if name == "train" and trained_on:
                check_classes(here, classes)
            if len(here):
                splits[name] = {"size": len(here), "fingerprint": seal(digest, shape, here, classes)}
            else:
                notes.append(f"the {name} split has no images that can be read: it is not used.")
    report.close()
    if not splits:
        raise UserError("there are no images that can be read.")
    meta = {"key": key, "classes": classes, "splits": splits, "resolution": side, "notes": [*listing.notes, *notes]}
    meta["skipped"] = [(where, reason) for where, reason in skipped if reason is not None]
    meta["others"] = [where for where, reason in skipped if reason is None]
    meta["without_train"] = listing.without_train
    with writing(folder):
        np.save(folder / "labels.npy", np.array(labels, dtype=np.int64))
        np.save(folder / "ids.npy", np.array(ids, dtype=np.str_))
        (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")


def choose_resolution(listing: Listing, wanted: int | None) -> tuple[int, list[str]]:
    """Pixels of a side: the wanted ones, else the images' own when they are small, else 64 and a note about it."""
    if wanted is not None:
        return wanted, []
    sides = []
    for item in listing.sample() if listing.sample else islice(next(iter(listing.splits.values()))(), SAMPLE):
        with contextlib.suppress(UserError):  # a broken image is reported when it is decoded
            sides.append(header(item.image)[0])
    usual = int(np.median(sides)) if sides else SMALL
    if usual <= SMALL:
        return usual, []
    return SMALL, [f"images are some {usual} px and were made {SMALL} px: --resolution {usual} keeps their size."]


def _check_room(folder: Path, images: int, size: int) -> None:
    """`UserError` when so many decoded images of `size` bytes cannot fit on the disk."""
    with writing(folder):
        free = shutil.disk_usage(folder).free
    if images * size > free:
        raise UserError(
            f"the decoded images take {images * size / 1e9:.1f} GB, and {folder.parent} has {free / 1e9:.1f} GB left. "
            "Make room, set SHOESTRING_CACHE to a folder on another disk, or take a smaller --resolution."
        )


def _is_grey(item: Item) -> bool:
    try:
        return header(item.image)[1]
    except UserError:
        return True


def _blocks(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    """Items in lists that are short where decoded images, of `size` bytes each, or encoded ones are large."""
    most = min(_BLOCK, max(1, _BLOCK_BYTES // size))
    block, encoded = [], 0
    for item in items:
        block.append(item)
        encoded += len(item.image) if isinstance(item.image, bytes) else 0
        if len(block) == most or encoded > _BLOCK_BYTES:
            yield block
            block, encoded = [], 0
    if block:
        yield block


def _in_threads(blocks: Iterator[list[Item]], work: Callable[[list[Item]], _Block]) -> Iterator[_Block]:
    """The blocks of decoded images in order; at most a few blocks are in memory (Pillow decodes without the GIL)."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    waiting = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for block in blocks:
            waiting.append(pool.submit(work, block))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_block(items: list[Item], *, resolution: int, channels: int, skip_bad: bool) -> _Block:
    results = [_attempt(item, resolution=resolution, channels=channels, skip_bad=skip_bad) for item in items]
    good = [index for index, result in enumerate(results) if isinstance(result, np.ndarray)]
    return _Block(
        np.array([results[index] for index in good], np.uint8).reshape(-1, resolution, resolution, channels),
        [items[index].label for index in good],
        [items[index].id for index in good],
        [result for result in results if isinstance(result, _Skipped)],
    )


def _attempt(item: Item, *, resolution: int, channels: int, skip_bad: bool) -> NDArray[np.uint8] | _Skipped:
    """Pixels (H, W, C), or what was left out and why."""
    try:
        return decode(item.image, resolution=resolution, channels=channels)
    except UserError as error:
        where = str(item.image) if isinstance(item.image, Path) else item.id
        if isinstance(item.image, Path) and not looks_like_an_image(item.image):
            return _Skipped(where, None)
        if not skip_bad:
            raise bad_image(where, str(error)) from None
        return _Skipped(where, str(error))


def bad_image(name: str, reason: str) -> UserError:
    """The error for an image that cannot be read."""
    return UserError(f"cannot read {name}: {reason}. Mend or remove it, or leave such images out with --skip-bad.")


def check_train_split(splits: Mapping[str, object], without: str) -> None:
    """Raise `UserError` with this text where there is no train split."""
    if "train" not in splits:
        raise UserError(without)


def one_class(classes: Sequence[str]) -> UserError:
    """The error for images that are all of one class."""
    return UserError(f"one class only ({', '.join(classes)}): a classifier needs images of two classes at least.")


def check_classes(labels: NDArray[np.int64], classes: Sequence[str]) -> None:
    """`UserError` unless there are two classes or more and each has training images."""
    counts = np.bincount(labels, minlength=len(classes))
    if not len(labels):
        raise UserError("there are no training images that can be read.")
    if len(classes) < 2:
        raise one_class(classes)
    if not counts.all():
        raise UserError(f"class '{classes[int(counts.argmin())]}' has no training images: add some, or take it out.")
