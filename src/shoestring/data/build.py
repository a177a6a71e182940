"""From a listing to pixels on disk: decode in threads, write in order, fingerprint on the way."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shoestring.data.cache import writing
from shoestring.data.decode import decode, header
from shoestring.data.images import seal
from shoestring.data.listing import Item, Listing
from shoestring.errors import UserError

_BLOCK = 64  # images decoded by one thread at a time
_SAMPLE = 512  # images whose size is looked at
SMALL = 64  # pixels: up to here images keep their own size, and larger ones are made this small

Progress = Callable[[int, int], None]


class _Block(NamedTuple):
    pixels: NDArray[np.uint8]
    labels: list[int]
    ids: list[str]
    skipped: list[tuple[str, str]]


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

    `UserError` naming the first image that cannot be read, unless `skip_bad`, which leaves such images out; and for
    images that cannot be `trained_on`, of one class or with a class that has none.
    """
    if trained_on and len(listing.classes) < 2:
        raise one_class(listing.classes)
    side, notes = choose_resolution(listing, resolution)
    channels = 1 if all(_is_grey(item) for items in listing.splits.values() for item in items()) else 3
    decode_block = partial(_decode_block, resolution=side, channels=channels, skip_bad=skip_bad)
    report = _Report(listing.size, progress)
    shape = (side, side, channels)
    _check_room(folder, listing.size, side * side * channels)
    splits, labels, ids, skipped = {}, [], [], []
    with _Pixels(folder, shape) as pixels:
        for name, items in listing.splits.items():
            start, digest = len(labels), hashlib.blake2b(digest_size=16)
            for block in _in_threads(items(), decode_block):
                pixels.write(block.pixels)
                digest.update(block.pixels.data)
                labels += block.labels
                ids += block.ids
                skipped += block.skipped
                report.add(len(block.labels) + len(block.skipped))
            here = np.array(labels[start:], dtype=np.int64)
            splits[name] = {"size": len(here), "fingerprint": seal(digest, shape, here, listing.classes)}
            if name == "train" and trained_on:
                check_classes(here, listing.classes)
    report.close()
    meta = {"key": key, "classes": listing.classes, "splits": splits, "resolution": side, "skipped": skipped}
    meta["notes"] = [*listing.notes, *notes]
    with writing(folder):
        np.save(folder / "labels.npy", np.array(labels, dtype=np.int64))
        np.save(folder / "ids.npy", np.array(ids))
        (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")


def choose_resolution(listing: Listing, wanted: int | None) -> tuple[int, list[str]]:
    """Pixels of a side: the wanted ones, else the images' own when they are small, else 64 and a note about it."""
    if wanted is not None:
        return wanted, []
    sides = []
    for item in islice(listing.splits["train"](), _SAMPLE):
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


def _in_threads(items: Iterator[Item], work: Callable[[list[Item]], _Block]) -> Iterator[_Block]:
    """The blocks of decoded images in order; at most a few blocks are in memory (Pillow decodes without the GIL)."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    waiting = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        while block := list(islice(items, _BLOCK)):
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
        [result for result in results if isinstance(result, tuple)],
    )


def _attempt(item: Item, *, resolution: int, channels: int, skip_bad: bool) -> NDArray[np.uint8] | tuple[str, str]:
    """Pixels (H, W, C), or the name of an image that was skipped and why."""
    try:
        return decode(item.image, resolution=resolution, channels=channels)
    except UserError as error:
        where = str(item.image) if isinstance(item.image, Path) else item.id
        if not skip_bad:
            raise bad_image(where, str(error)) from None
        return where, str(error)


def bad_image(name: str, reason: str) -> UserError:
    """The error for an image that cannot be read."""
    return UserError(f"cannot read {name}: {reason}. Mend or remove it, or leave such images out with --skip-bad.")


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


class _Pixels:
    """pixels.npy, written block by block: a plain file, because a full disk under a memory map kills the process."""

    def __init__(self, folder: Path, shape: tuple[int, int, int]) -> None:
        self._folder, self._shape, self._count = folder, shape, 0

    def __enter__(self) -> _Pixels:
        with writing(self._folder):
            self._file = (self._folder / "pixels.npy").open("wb")
            self._header()
        return self

    def write(self, pixels: NDArray[np.uint8]) -> None:
        with writing(self._folder):
            self._file.write(pixels.data)
        self._count += len(pixels)

    def _header(self) -> None:
        # numpy leaves room for a longer first axis, so the header can be written again when the count is known
        header = {"descr": "|u1", "fortran_order": False, "shape": (self._count, *self._shape)}
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, header)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with writing(self._folder), self._file:
            if kind is None:
                self._header()


class _Report:
    """Calls `progress(done, total)` at most twenty times a second."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._progress = total, progress
        self._done, self._next = 0, 0.0

    def add(self, count: int) -> None:
        self._done += count
        if self._progress and time.monotonic() >= self._next:
            self._progress(self._done, self._total)
            self._next = time.monotonic() + 0.05

    def close(self) -> None:
        if self._progress:
            self._progress(self._done, self._done)
