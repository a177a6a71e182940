"""What a source gives: a cheap list of encoded images, from which the one decoder makes pixels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Encoded = Path | bytes | NDArray[np.uint8] | Image.Image


class Item(NamedTuple):
    """One image before decoding: where it is, its class as an index, and its stable name."""

    image: Encoded
    label: int
    id: str


Items = Callable[[], Iterator[Item]]  # reads a split from its start at every call


@dataclass(frozen=True)
class Listing:
    """Class names and splits: always `train`, and `validation` and `test` where the source has them.

    `size` is how many images there are in all splits together, 0 when only reading them can tell.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, Items]
    size: int
    notes: tuple[str, ...] = field(default=())


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


def files_key(files: Iterable[Path | str]) -> str:
    """A fingerprint of files by path, size in bytes and time of the last change in nanoseconds."""
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        status = os.stat(file)  # noqa: PTH116 - there may be a million files, and Path objects cost more than this
        digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def from_memory(name: str, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Items:
    """The items of images in memory, uint8 (N, H, W) or (N, H, W, C), with class indices (N,)."""

    def items() -> Iterator[Item]:
        for index, (image, label) in enumerate(zip(images, labels)):
            yield Item(image, int(label), f"{name}/{index:05d}")

    return items
