"""Images that are nearly the same: found by small copies of them, so that no network has to be trusted."""

from __future__ import annotations

import numpy as np
import torch

from shoestring.data.images import Images
from shoestring.select.similarity import Floats, Places, products, slices

_SIDE = 12  # pixels of the small copies
# Cosine of two small copies from which images count as the same. On CIFAR-10 all pairs that were looked at above it are
# the same photograph, and below it the first ones are that only share a horizon.
_ALIKE = 0.98
_DIRECTIONS = 24  # of greatest variance, along which copies that differ are told apart first
_ROWS, _COLUMNS = 2048, 4096  # of the blocks that are compared at once


def duplicates(images: Images) -> Places:
    """Places to leave out so that of each group of near duplicates the first image stays, ascending.

    Two images are near duplicates when their small copies are alike; what is like a like one belongs to the group.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    copies = small_copies(images)
    rows, columns = alike(copies, copies)
    pairs = (np.ones(len(rows), dtype=bool), (rows, columns))
    _, groups = connected_components(coo_array(pairs, shape=(len(copies), len(copies))), directed=False)
    first = np.unique(groups, return_index=True)[1]
    return np.setdiff1d(np.arange(len(copies)), first)


def shared(train: Images, test: Images) -> Places:
    """Places of the test images that have a near duplicate among the training images, ascending."""
    return np.unique(alike(small_copies(test), small_copies(train))[0])


def small_copies(images: Images) -> Floats:
    """Small copies (N, D) of unit length with their mean colour taken off, so that light and tint matter little."""
    channels = images.shape[2]
    found = np.empty((len(images), channels * _SIDE**2 + 1), dtype=np.float32)
    for part in slices(len(images), _ROWS):
        pixels = torch.from_numpy(images[part].pixels).permute(0, 3, 1, 2).float()
        size = (_SIDE, _SIDE)
        small = torch.nn.functional.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)
        small -= small.mean((2, 3), keepdim=True)
        found[part, :-1] = small.flatten(1).numpy()
    found[:, -1] = 1.0  # so that images of one colour are alike
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def alike(left: Floats, right: Floats) -> tuple[Places, Places]:
    """The pairs (rows of the one, rows of the other) whose cosine is high enough, every image with itself among them.

    Exact: along a few directions two vectors are never farther apart than altogether, so only pairs that are near
    there are compared. O(N^2) for the few directions, in blocks.
    """
    radius = 2 - 2 * _ALIKE  # the squared distance of unit vectors
    directions = np.linalg.eigh(products(right.T, right.T))[1][:, -_DIRECTIONS:]
    near, far = _halves(products(left, directions.T)), _halves(products(right, directions.T), swapped=True)
    found = []
    for rows in slices(len(left), _ROWS):
        for columns in slices(len(right), _COLUMNS):
            close = products(near[rows], far[columns]) >= -radius / 2 - 1e-5
            own, other = np.nonzero(close)
            own, other = own + rows.start, other + columns.start
            cosines = np.einsum("nd,nd->n", left[own], right[other])
            found.append(np.stack([own, other])[:, cosines >= _ALIKE])
    rows, columns = np.concatenate(found, axis=1)
    return rows, columns


def _halves(vectors: Floats, *, swapped: bool = False) -> Floats:
    """Vectors (N, D + 2) whose product with those that are `swapped` is less half the squared distance."""
    length = -0.5 * np.einsum("nd,nd->n", vectors, vectors)[:, None]
    one = np.ones_like(length)
    return np.concatenate([vectors, *((one, length) if swapped else (length, one))], axis=1).astype(np.float32)
