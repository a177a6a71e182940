"""Labeled images in one array, and the three splits of a data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.config.fit import DEFAULT_FIT, Fit
from shoestring.errors import UserError
from shoestring.tasks import SINGLE_LABEL, Task, task_of

_RESIZE_BATCH = 256  # images
_MAX_ROWS = 30  # classes of a table in a notebook


class Images:
    """Images of one size with labels; indexing returns another `Images` without copying pixels.

    `store` is uint8 (N, H, W, C), in memory or memory-mapped; `labels` int64: class indices (N,), or 0 and 1 for any
    number of labels per image (N, classes), or None; `ids` one stable name per image; `rows` the indices of these
    images in the store (by default all, in order); `mirrored` whether a mirror image keeps its class (not for digits
    and letters).
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
        self.fit: Fit = DEFAULT_FIT  # how rectangles became squares
        self._weights: NDArray[np.float32] | None = None  # of all images of the store
        self.skipped: tuple[tuple[str, str], ...] = ()  # unreadable images: names and reasons

    def __len__(self) -> int:
        return len(self.store) if self._rows is None else len(self._rows)

    def __repr__(self) -> str:
        height, width, channels = self.shape
        what = f"{len(self.classes)} {self.task.nouns}"
        return f"Images({len(self):,} of {height} x {width} x {channels}, {what})"

    def _repr_html_(self) -> str:
        from shoestring.data.contact_sheet import contact_sheet

        return contact_sheet(self)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every image."""
        return self.store.shape[1], self.store.shape[2], self.store.shape[3]

    @property
    def rows(self) -> NDArray[np.int64]:
        """Indices (N,) of these images in the store."""
        return np.arange(len(self.store)) if self._rows is None else self._rows

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """Uint8 (N, H, W, C); the store itself if these are all of its images, else a copy."""
        return self.store if self._rows is None else self.store[self._rows]

    @cached_property
    def labels(self) -> NDArray[np.int64] | None:
        """Class indices (N,), or 0 and 1 (N, classes), or None for images without labels."""
        if self._labels is None or self._rows is None:
            return self._labels
        return self._labels[self._rows]

    @property
    def targets(self) -> NDArray[np.int64]:
        """The labels. Raises `UserError` for images without labels."""
        if self.labels is None:
            raise UserError("these images have no labels, and this step needs them.")
        return self.labels

    @property
    def task(self) -> Task:
        """Whether the labels say one class for each image, or any number of labels."""
        return task_of(self._labels)

    @property
    def has_one_class_each(self) -> bool:
        """Whether each image is labeled with one class."""
        return self._labels is not None and self.task == SINGLE_LABEL

    @property
    def weights(self) -> NDArray[np.float32] | None:
        """Training weights (N,), or of each label (N, classes); None if all are equal."""
        return None if self._weights is None else self._weights[self.rows]

    @cached_property
    def ids(self) -> NDArray[np.str_]:
        """Stable names (N,)."""
        return self._ids if self._rows is None else self._ids[self._rows]

    @property
    def all_ids(self) -> NDArray[np.str_]:
        """Stable names of all images of the store."""
        return self._ids

    @cached_property
    def fingerprint(self) -> str:
        """Hash of images, labels and order, the same on every machine."""
        if self._rows is None:
            return self._fingerprint
        return hashlib.blake2b(self._fingerprint.encode() + self._rows.tobytes(), digest_size=16).hexdigest()

    @cached_property
    def names_hash(self) -> str:
        """Hash of names, labels and order, which does not depend on the size of the images."""
        digest = hashlib.blake2b(json.dumps([list(map(str, self.ids)), list(self.classes)]).encode(), digest_size=16)
        digest.update(b"" if self.labels is None else self.labels.astype("<i8").tobytes())
        return digest.hexdigest()

    def __getitem__(self, key: Any) -> Images:
        """Return the images at these indices or in this slice, in that order; a `Subset` must be one of these."""
        indices = key.indices_for(self) if hasattr(key, "indices_for") else key
        return self.at(self.rows[indices])

    def at(self, rows: NDArray[np.int64]) -> Images:
        """Return the images at these rows (N,) of the store, whether or not they are among these images."""
        images = Images(
            self.store,
            self._labels,
            self.classes,
            self._ids,
            fingerprint=self._fingerprint,
            rows=np.ascontiguousarray(rows, dtype=np.int64),
            mirrored=self.mirrored,
        )
        images.skipped, images.fit, images._weights = self.skipped, self.fit, self._weights
        return images

    def weighted(self, weights: NDArray[np.float32] | None) -> Images:
        """Return the same images with training weights (N,) or (N, classes), or None for equal weights."""
        assert weights is None or len(weights) == len(self), "a weight for each image"
        images, stored = self.at(self.rows), None
        if weights is not None:
            stored = np.ones((len(self.store), *weights.shape[1:]), dtype=np.float32)
            stored[self.rows] = weights
        images._weights = stored
        return images

    def resized(self, side: int) -> Images:
        """Return the images resized to `side` pixels (bilinear, antialiased), in memory."""
        import torch
        from torch.nn import functional

        store = np.empty((len(self), side, side, self.shape[2]), np.uint8)
        for start in range(0, len(self), _RESIZE_BATCH):
            rows = self.rows[start : start + _RESIZE_BATCH]
            batch = torch.from_numpy(self.store[rows]).permute(0, 3, 1, 2)
            resized = functional.interpolate(batch, (side, side), mode="bilinear", antialias=True)
            store[start : start + len(rows)] = resized.permute(0, 2, 3, 1).numpy()
        fingerprint, mirrored = self.fingerprint, self.mirrored
        images = Images(store, self.labels, self.classes, self.ids, fingerprint=fingerprint, mirrored=mirrored)
        images.skipped, images.fit = self.skipped, self.fit
        images._weights = None if self._weights is None else self._weights[self.rows]
        return images

    def counts(self) -> NDArray[np.int64]:
        """Return the number of images with each class or label (classes,)."""
        return self.task.counts(self.targets, len(self.classes))


def finish_fingerprint(
    digest: hashlib.blake2b, shape: Sequence[int], labels: NDArray[np.int64], classes: Sequence[str]
) -> str:
    """Return the fingerprint of images of shape (H, W, C) whose pixels `digest` has hashed, in order."""
    digest.update(labels.astype("<i8").tobytes())
    digest.update(json.dumps([list(shape), list(classes)]).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Dataset:
    """Train, validation and test images of one source. The train split defines the classes."""

    name: str
    train: Images
    validation: Images
    test: Images
    notes: tuple[str, ...] = field(default=())  # for the user, on how the data set was loaded

    def __repr__(self) -> str:
        splits = ", ".join(f"{len(images):,} {name}" for name, images in self._splits.items())
        side = " x ".join(map(str, self.train.shape))
        return f"Dataset({self.name}: {splits}, {len(self.classes):,} classes, {side})"

    def _repr_html_(self) -> str:
        from shoestring.data.contact_sheet import contact_sheet
        from shoestring.escaping import html, html_table

        splits = {name: images for name, images in self._splits.items() if images.labels is not None}
        counts = zip(*(images.counts().tolist() for images in splits.values()))
        rows = [(name, *row) for name, row in zip(self.classes, counts)]
        table = html_table(("class", *splits), rows[:_MAX_ROWS]) if splits else ""
        more = f"<p>{len(rows) - _MAX_ROWS:,} more classes</p>" if len(rows) > _MAX_ROWS else ""
        return f"<p>{html(repr(self))}</p>{table}{more}{contact_sheet(self.train)}"

    @property
    def _splits(self) -> dict[str, Images]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @classmethod
    def of(cls, images: Images, validation: Images | None = None, test: Images | None = None) -> Dataset:
        """Return a data set of training, validation and test images, with empty splits where there are none."""
        validation, test = (images[:0] if split is None else split for split in (validation, test))
        return cls("images", images, validation, test)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, which labels index."""
        return self.train.classes

    def resized(self, side: int) -> Dataset:
        """Return the data set with images resized to `side` pixels."""
        return replace(self, **{name: images.resized(side) for name, images in self._splits.items()})

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """Unreadable images of all splits: names and reasons."""
        return self.train.skipped

    @property
    def mirrored(self) -> bool:
        """Whether a mirror image keeps its class."""
        return self.train.mirrored
