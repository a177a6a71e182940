"""What a source gives: a cheap list of encoded images, from which the one decoder makes pixels."""

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

SAMPLE = 512  # images whose size is looked at, to choose the resolution

Encoded = Path | bytes | NDArray[np.uint8] | Image.Image


class Item(NamedTuple):
    """One image before decoding: where it is, its class as an index, and its stable name."""

    image: Encoded
    label: int
    id: str


Items = Callable[[], Iterator[Item]]  # reads a split from its start at every call


@dataclass(frozen=True)
class Listing:
    """Class names and splits: `train`, `validation` and `test`, as far as the source has them.

    `size` is how many images there are in all splits together, 0 when only reading them can tell. `sample` reads some
    images of all classes, by which the usual size is measured; the first ones are taken where there is none.
    `without_train` is the error for a source that is to be trained on and has no train split.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, Items]
    size: int
    notes: tuple[str, ...] = field(default=())
    sample: Items | None = None
    without_train: str = "there is no train split."


@dataclass(frozen=True)
class Source:
    """A place that images come from, known without reading them.

    `location` names the place (one cache entry each); `key` changes whenever what lies there changes; both are cheap,
    so that a cached data set opens without reading its source. `read` makes the listing.
    """

    name: str
    location: str
    key: str
    read: Callable[[], Listing]


def composed(name: object) -> str:
    """A name as text with composed accents: macOS writes an accent as a character of its own, others do not."""
    return unicodedata.normalize("NFC", str(name))


def class_names(names: Iterable[object]) -> tuple[str, ...]:
    """The names of classes as text; `UserError` when two are the same."""
    made = tuple(map(composed, names))
    if len(set(made)) < len(made):
        twice = ", ".join(f"'{name}'" for name, count in Counter(made).items() if count > 1)
        raise UserError(f"more than one class is called {twice}: give each class its own name.")
    return made


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names for a message, and how many there are beyond the first ones."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def spread(count: int, size: int) -> range:
    """Up to about `size` indices below `count`, at equal distances."""
    return range(0, count, max(1, -(-count // size)))


def files_key(files: Iterable[Path | str]) -> str:
    """A fingerprint of files by path, size in bytes and time of the last change in nanoseconds."""
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        try:
            status = os.stat(file)  # noqa: PTH116 - there may be a million files, and Path objects cost more than this
        except OSError:  # a link to nothing, which is reported when it is decoded
            status = os.lstat(file)
        digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def from_memory(name: str, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Items:
    """The items of images in memory, uint8 (N, H, W) or (N, H, W, C), with class indices (N,)."""

    def items() -> Iterator[Item]:
        for index, (image, label) in enumerate(zip(images, labels)):
            yield Item(image, int(label), f"{name}/{index:05d}")

    return items
