"""What a source returns: a cheap listing of encoded images, to be decoded in one place for all sources."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shoestring.errors import UserError

SAMPLE_SIZE = 512  # images whose size is read to choose the resolution

Encoded = Path | bytes | NDArray[np.uint8] | Image.Image


class Item(NamedTuple):
    """One encoded image, its class index, or 0 or 1 for each label, and its stable name."""

    image: Encoded
    label: int | tuple[int, ...]
    id: str


Items = Callable[[], Iterator[Item]]  # every call iterates over a split from its start


@dataclass(frozen=True)
class Listing:
    """Class names and the splits that the source has, of `train`, `validation` and `test`.

    `size` is the number of images in all splits, 0 if unknown. `sample` iterates over some images of all classes, for
    the median size; by default the first images are used. `without_train` is the error message for training on a source
    that has no train split. `missing` is the error message for images that do not exist: with `skip_bad`, they are
    skipped instead.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, Items]
    size: int
    notes: tuple[str, ...] = field(default=())
    sample: Items | None = None
    without_train: str = "there is no train split."
    missing: str = ""


@dataclass(frozen=True)
class Source:
    """A source of images, identified without reading them.

    `location` identifies the source (one cache entry each); `key` changes whenever its content changes. Both are cheap,
    so that a cached data set opens without reading its source. `read` makes the listing. `groups` are the groups of
    images by their ids, for sources that have any: images of one group must not be in two splits.
    """

    name: str
    location: str
    key: str
    read: Callable[[], Listing]
    groups: Mapping[str, str] | None = None


def normalized(name: object) -> str:
    """Return a name in Unicode normal form C: macOS decomposes accented characters, other systems do not."""
    return unicodedata.normalize("NFC", str(name))


def class_names(names: Iterable[object]) -> tuple[str, ...]:
    """Return the names of classes as text. Raises `UserError` if two are the same."""
    texts = tuple(map(normalized, names))
    if len(set(texts)) < len(texts):
        duplicates = ", ".join(f"'{name}'" for name, count in Counter(texts).items() if count > 1)
        raise UserError(f"more than one class is called {duplicates}: give each class its own name.")
    return texts


def listed(names: Sequence[str], most: int = 20) -> str:
    """Return the first names for a message, and the number of the others."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def evenly_spaced(count: int, size: int) -> range:
    """Return up to about `size` evenly spaced indices below `count`."""
    return range(0, count, max(1, -(-count // size)))


def files_key(files: Iterable[Path | str]) -> str:
    """Return a fingerprint of files by path, size in bytes and modification time in nanoseconds."""
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        try:
            status = os.stat(file)  # noqa: PTH116 - there may be a million files, and Path objects cost more than this
        except OSError:  # a broken link, which is reported when it is decoded
            status = os.lstat(file)
        digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def from_memory(name: str, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Items:
    """Return the items of images in memory, uint8 (N, H, W) or (N, H, W, C).

    Labels are class indices (N,), or 0 and 1 for each label (N, L).
    """

    def items() -> Iterator[Item]:
        for index, (image, label) in enumerate(zip(images, labels.tolist())):
            yield Item(image, tuple(label) if isinstance(label, list) else label, f"{name}/{index:05d}")

    return items
