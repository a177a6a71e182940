"""Images and data sets from arrays in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shoestring.config.fit import DEFAULT_FIT, Fit, check_fit
from shoestring.data.build import Resolution, check_classes, limited
from shoestring.data.decode import resize
from shoestring.data.images import Dataset, Images, finish_fingerprint
from shoestring.data.listing import class_names
from shoestring.data.sources.arrays import label_encoder, to_pixels
from shoestring.data.split import make_splits
from shoestring.data.squares import native_side


def from_arrays(  # noqa: PLR0913 (public: keywords with defaults)
    images: ArrayLike,
    labels: ArrayLike,
    *,
    classes: Sequence[str] | None = None,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    resolution: Resolution = None,
    fit: Fit = DEFAULT_FIT,
    validation: float = 0.1,
    split_seed: int = 0,
) -> Dataset:
    """Make a data set of images (N, H, W) or (N, H, W, C), uint8 or floats in 0..1; nothing is cached on disk.

    `labels` (N,) are integers or names; with `classes`, indices into it or its names. Several labels per image are rows
    of 0 and 1 (N, L), named by `classes` or by the columns of a data frame. `test` is a pair of images and
    labels; by default the test split is empty, because all given images are meant for training. `resolution`,
    `fit` and `validation` are as in `load`. Raises `UserError` for other shapes, types or ranges, and for a single
    class.
    """
    encode, names = label_encoder(labels, classes)
    pixels = to_pixels(images)
    side = _side(pixels, resolution, fit)
    make = partial(in_memory, classes=names, resolution=side, fit=fit)
    splits = {"train": make(pixels, encode(labels, len(pixels), "labels"))}
    check_classes(splits["train"].targets, names)
    if test is None:
        splits["test"] = splits["train"][:0]
    else:
        pixels = to_pixels(test[0], what="test images")
        splits["test"] = make(pixels, encode(test[1], len(pixels), "test labels"), name="test")
    splits, _ = make_splits(splits, validation=validation, seed=split_seed)
    return Dataset("arrays", splits["train"], splits["validation"], splits["test"])


def in_memory(
    images: ArrayLike,
    labels: NDArray[np.int64] | None,
    *,
    classes: Sequence[str],
    resolution: Resolution = None,
    fit: Fit = DEFAULT_FIT,
    name: str = "train",
    mirrored: bool = True,
) -> Images:
    """Make `Images` of an array as `to_pixels` takes it, with labels as those of `Images`, or None.

    Without a `resolution`, sides above 64 pixels are resized to 64; `AtMost` is another limit. Rectangles become
    squares as `load` makes them.
    """
    check_fit(fit)
    classes = class_names(classes)
    pixels = to_pixels(images)
    side = _side(pixels, resolution, fit)
    pixels = resize(pixels, resolution=side, channels=pixels.shape[3], fit=fit)
    digest = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16)
    ids = np.array([f"{name}/{index:05d}" for index in range(len(pixels))])
    hashed_labels = labels if labels is not None else np.array([], dtype=np.int64)
    fingerprint = finish_fingerprint(digest, pixels.shape[1:], hashed_labels, classes)
    made = Images(pixels, labels, classes, ids, fingerprint=fingerprint, mirrored=mirrored)
    made.fit = fit
    return made


def _side(pixels: NDArray[np.uint8], resolution: Resolution, fit: Fit) -> int:
    """Return the side of the squares of images (N, H, W, C)."""
    height, width = pixels.shape[1:3]
    return limited(native_side((width, height), fit), resolution)
