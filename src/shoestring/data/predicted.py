"""Images with predicted labels beside labeled ones."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from shoestring.data.images import Images

_MIN_FRACTION = 0.25  # of the images that are labeled by people


def unselected(images: Images, chosen: Images) -> Images:
    """Return the images that are not among the chosen ones of the same store, in order."""
    return images.at(np.setdiff1d(images.rows, chosen.rows))


def joined(one: Images, other: Images) -> Images:
    """Return the images of two stores, of the same size and without labels, in one."""
    fingerprint = hashlib.blake2b(f"{one.fingerprint} {other.fingerprint}".encode(), digest_size=16).hexdigest()
    pixels, ids = np.concatenate([one.pixels, other.pixels]), np.concatenate([one.ids, other.ids])
    return Images(pixels, None, one.classes, ids, fingerprint=fingerprint, mirrored=one.mirrored)


def with_predicted(images: Images, others: Images, labels: NDArray[np.int64]) -> Images:
    """Return labeled images followed by others, which have the predicted `labels` (N,) in place of any of their own.

    Both have the same size; the pixels are copied unless both are in the same store. Training weights of the others are
    1 if the labeled ones have any.
    """
    if others.store is images.store:
        store, rows = images.store, np.concatenate([images.rows, others.rows])
        every = np.zeros(len(store), dtype=np.int64)
        every[images.rows], every[others.rows] = images.targets, labels
        ids = images.all_ids
    else:
        store, rows = np.concatenate([images.pixels, others.pixels]), None
        every, ids = np.concatenate([images.targets, labels]), np.concatenate([images.ids, others.ids])
    digest = hashlib.blake2b(f"{images.fingerprint} {others.fingerprint}".encode(), digest_size=16)
    digest.update(labels.astype("<i8").tobytes())
    joined = Images(
        store, every, images.classes, ids, fingerprint=digest.hexdigest(), rows=rows, mirrored=images.mirrored
    )
    joined.skipped, joined.fit = images.skipped, images.fit
    if images.weights is None:
        return joined
    return joined.weighted(np.concatenate([images.weights, np.ones(len(others), dtype=np.float32)]))


def repeated(images: Images, labeled: int) -> Images:
    """Return the images with the first `labeled` ones repeated, so that these are a quarter of all."""
    others = len(images) - labeled
    times = max(1, round(_MIN_FRACTION / (1 - _MIN_FRACTION) * others / labeled))
    order = np.concatenate([np.tile(np.arange(labeled), times), np.arange(labeled, len(images))])
    return images[order] if times > 1 else images
