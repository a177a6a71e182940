"""What flows through everything: labelled images in one array, and the three splits of a data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

_RESIZED_TOGETHER = 256  # images


class Images:
    """Images of one size with their labels; indexing gives another `Images` and copies no pixels.

    `store` is uint8 (N, H, W, C), in memory or memory-mapped; `labels` int64 (N,) or None; `ids` one stable name per
    image; `rows` which images of the store these are (all, in order, when None); `mirrored` whether a mirrored image
    keeps its class (it does not for digits and letters).
    """

    def __init__(
        self,
        store: NDArray[np.uint8],
        labels: NDArray[np.int64] | None,
        classes: Sequence[str],
        ids: NDArray[np.str_],
        *,
        fingerprint: str,
        rows: NDArray[np.int64] | None = None,
        mirrored: bool = True,
    ) -> None:
        assert store.ndim == 4 and store.dtype == np.uint8, "pixels are uint8 (N, H, W, C)"
        self.store, self._rows = store, rows
        self._labels, self._ids = labels, ids
        self.classes = tuple(classes)
        self._fingerprint = fingerprint
        self.mirrored = mirrored
        self._weights: NDArray[np.float32] | None = None  # of the images of the store
        self.skipped: tuple[tuple[str, str], ...] = ()  # what loading left out: names, and why they cannot be read

    def __len__(self) -> int:
        return len(self.store) if self._rows is None else len(self._rows)

    def __repr__(self) -> str:
        height, width, channels = self.shape
        return f"Images({len(self):,} of {height} x {width} x {channels}, {len(self.classes)} classes)"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every image."""
        return self.store.shape[1], self.store.shape[2], self.store.shape[3]

    @property
    def rows(self) -> NDArray[np.int64]:
        """Which images of the store these are (N,)."""
        return np.arange(len(self.store)) if self._rows is None else self._rows

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """Uint8 (N, H, W, C); the memory map itself when these are all images of it, else a copy."""
        return self.store if self._rows is None else self.store[self._rows]

    @cached_property
    def labels(self) -> NDArray[np.int64] | None:
        """Int64 (N,), or None when the images have no labels."""
        if self._labels is None or self._rows is None:
            return self._labels
        return self._labels[self._rows]

    @property
    def targets(self) -> NDArray[np.int64]:
        """The labels, for steps that cannot do without them."""
        if self.labels is None:
            raise ValueError("these images have no labels, and this step needs them.")
        return self.labels

    @property
    def weights(self) -> NDArray[np.float32] | None:
        """How much each image counts in training (N,), or None when all count the same."""
        return None if self._weights is None else self._weights[self.rows]

    @cached_property
    def ids(self) -> NDArray[np.str_]:
        """One stable name per image (N,)."""
        return self._ids if self._rows is None else self._ids[self._rows]

    @cached_property
    def fingerprint(self) -> str:
        """Same images, labels and order: same fingerprint, on any machine."""
        if self._rows is None:
            return self._fingerprint
        return hashlib.blake2b(self._fingerprint.encode() + self._rows.tobytes(), digest_size=16).hexdigest()

    def __getitem__(self, which: Any) -> Images:
        """The images at these indices or in this slice, in that order; a `Subset` is checked to belong to them."""
        indices = which.indices_for(self) if hasattr(which, "indices_for") else which
        return self.at(self.rows[indices])

    def at(self, rows: NDArray[np.int64]) -> Images:
        """The images at these rows (N,) of the store, whichever of its images these are."""
        images = Images(
            self.store,
            self._labels,
            self.classes,
            self._ids,
            fingerprint=self._fingerprint,
            rows=np.ascontiguousarray(rows, dtype=np.int64),
            mirrored=self.mirrored,
        )
        images.skipped, images._weights = self.skipped, self._weights
        return images

    def weighted(self, weights: NDArray[np.float32] | None) -> Images:
        """The same images, each of which counts in training as its weight (N,) says; all the same when None."""
        assert weights is None or len(weights) == len(self), "a weight for each image"
        images, stored = self.at(self.rows), None
        if weights is not None:
            stored = np.ones(len(self.store), dtype=np.float32)
            stored[self.rows] = weights
        images._weights = stored
        return images

    def resized(self, side: int) -> Images:
        """The same images made `side` pixels high and wide (bilinear, antialiased), in memory."""
        import torch
        from torch.nn import functional

        store = np.empty((len(self), side, side, self.shape[2]), np.uint8)
        for start in range(0, len(self), _RESIZED_TOGETHER):
            rows = self.rows[start : start + _RESIZED_TOGETHER]
            block = torch.from_numpy(self.store[rows]).permute(0, 3, 1, 2)
            smaller = functional.interpolate(block, (side, side), mode="bilinear", antialias=True)
            store[start : start + len(rows)] = smaller.permute(0, 2, 3, 1).numpy()
        about = {"fingerprint": self.fingerprint, "mirrored": self.mirrored}
        images = Images(store, self.labels, self.classes, self.ids, **about)
        images.skipped = self.skipped
        images._weights = None if self._weights is None else self._weights[self.rows]
        return images

    def counts(self) -> NDArray[np.int64]:
        """Images per class (classes,)."""
        return np.bincount(self.targets, minlength=len(self.classes))


def seal(digest: hashlib.blake2b, shape: Sequence[int], labels: NDArray[np.int64], classes: Sequence[str]) -> str:
    """The fingerprint of images whose pixels, in order, `digest` has seen already; `shape` is (H, W, C)."""
    digest.update(labels.astype("<i8").tobytes())
    digest.update(json.dumps([list(shape), list(classes)]).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Dataset:
    """Train, validation and test images of one source. The training split owns the class list."""

    name: str
    train: Images
    validation: Images
    test: Images
    notes: tuple[str, ...] = field(default=())  # what loading did that the user should know

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        return self.train.classes

    def resized(self, side: int) -> Dataset:
        """The same images made `side` pixels high and wide."""
        splits = {name: getattr(self, name).resized(side) for name in ("train", "validation", "test")}
        return replace(self, **splits)

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """The images that were left out because they cannot be read, of all splits: names, and why."""
        return self.train.skipped

    @property
    def mirrored(self) -> bool:
        """Whether a mirrored image keeps its class."""
        return self.train.mirrored
