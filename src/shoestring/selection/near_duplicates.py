"""Images that are nearly the same: found by small copies of them, so that no network has to be trusted.

A pair counts when two things are alike: a coarse copy in colour, and the details that the coarse copy does not show.
With the first alone landscapes under the same sky were taken for each other; of the pairs of CIFAR-10 and of natural
scenes that pass both, nearly all that were looked at are the same photograph, cropped, tinted or saved anew.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.selection.algorithms.similarity import Floats, Places, products, slices
from shoestring.selection.pool import NOTHING

_COARSE, _FINE, _BLURRED = 12, 24, 6  # pixels of a side: of the coarse copy, of the details, of what these leave out
_COARSE_ALIKE, _FINE_ALIKE = 0.95, 0.85  # cosines from which two of them are alike
_DIRECTIONS = 24  # of greatest variance, along which copies that differ are told apart first
_SMALLEST = 16  # pixels of a side from which an image shows details
_ROWS, _COLUMNS = 2048, 4096  # of the blocks that are compared at once
_PAIRS = 65536  # that are looked at closely at once


def duplicates(images: Images, already: Places = NOTHING) -> Places:
    """Places to leave out so that of each group of near duplicates the first image stays, ascending.

    The images that are chosen `already` stay, and of their groups no others. `UserError` as `groups_of` does.
    """
    return all_but_first(groups_of(images), already)


def groups_of(images: Images) -> Places:
    """The number of each image's group of near duplicates (N,), with itself alone in most of them.

    Two images are near duplicates when their small copies are alike; what is like a like one belongs to the group.
    `UserError` for images that are too small to show details.
    """
    if min(images.shape[:2]) < _SMALLEST:
        raise UserError(
            f"images of {images.shape[0]} x {images.shape[1]} pixels show too little to tell duplicates from images "
            "that are alike: leave out --drop-duplicates."
        )
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, columns = same(images, images)
    pairs = (np.ones(len(rows), dtype=bool), (rows, columns))
    return connected_components(coo_array(pairs, shape=(len(images), len(images))), directed=False)[1]


def all_but_first(groups: Places, already: Places = NOTHING) -> Places:
    """Places, ascending, of the images that are not the first of their group; those chosen `already` come before."""
    turn = np.arange(len(groups))
    turn[already] -= len(groups)
    order = np.argsort(turn)
    first = order[np.unique(groups[order], return_index=True)[1]]
    return np.setdiff1d(np.arange(len(groups)), np.union1d(first, already))


def contradictory(groups: Places, labels: Places) -> int:
    """How many groups have images of more than one label."""
    pairs = np.unique(np.stack([groups, labels]), axis=1)
    return int((np.unique(pairs[0], return_counts=True)[1] > 1).sum())


def shared(train: Images, test: Images) -> Places:
    """Places of the test images that have a near duplicate among the training images, ascending."""
    return np.unique(same(test, train)[0])


def same(left: Images, right: Images) -> tuple[Places, Places]:
    """The pairs of near duplicates, as places in the one and in the other."""
    rows, columns = alike(_copies(left, coarse), _copies(right, coarse), _COARSE_ALIKE)
    if not len(rows):
        return rows, columns
    ours, theirs = np.unique(rows), np.unique(columns)
    one, other = _copies(left[ours], fine), _copies(right[theirs], fine)
    cosines = np.concatenate(
        [
            np.einsum("nd,nd->n", one[np.searchsorted(ours, rows[part])], other[np.searchsorted(theirs, columns[part])])
            for part in slices(len(rows), _PAIRS)
        ]
    )
    return rows[cosines >= _FINE_ALIKE], columns[cosines >= _FINE_ALIKE]


def coarse(pixels: Tensor) -> Tensor:
    """Small copies (N, C, H, W) of images with their mean colour taken off, so that light and tint matter little."""
    small = _resized(pixels, _COARSE)
    return small - small.mean((2, 3), keepdim=True)


def fine(pixels: Tensor) -> Tensor:
    """The details (N, 1, H, W) of images: grey copies less what is left of them in far fewer pixels."""
    grey = _resized(pixels.mean(1, keepdim=True), _FINE)
    return grey - _resized(_resized(grey, _BLURRED), _FINE)


def _resized(images: Tensor, side: int) -> Tensor:
    return F.interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False)


def _copies(images: Images, kind: Callable[[Tensor], Tensor]) -> Floats:
    """Copies of a kind as vectors (N, D) of unit length."""
    found = []
    for part in slices(len(images), _ROWS):
        pixels = torch.from_numpy(images[part].pixels).permute(0, 3, 1, 2).float()
        copies = kind(pixels).flatten(1)
        plain = torch.ones(len(copies), 1)  # so that images of one colour are alike
        found.append(F.normalize(torch.cat([copies, plain], 1)))
    return torch.cat(found).numpy()


def alike(left: Floats, right: Floats, least: float) -> tuple[Places, Places]:
    """The pairs (rows of the one, rows of the other) of at least this cosine, every image with itself among them.

    Exact: along a few directions two vectors are never farther apart than altogether, so only pairs that are near
    there are compared. O(N^2) for the few directions, in blocks.
    """
    radius = 2 - 2 * least  # the squared distance of unit vectors
    directions = np.linalg.eigh(products(right.T, right.T))[1][:, -_DIRECTIONS:]
    near, far = _halves(products(left, directions.T)), _halves(products(right, directions.T), swapped=True)
    found = []
    for rows in slices(len(left), _ROWS):
        for columns in slices(len(right), _COLUMNS):
            close = products(near[rows], far[columns]) >= -radius / 2 - 1e-5
            own, other = np.nonzero(close)
            own, other = own + rows.start, other + columns.start
            cosines = np.einsum("nd,nd->n", left[own], right[other])
            found.append(np.stack([own, other])[:, cosines >= least])
    rows, columns = np.concatenate(found, axis=1)
    return rows, columns


def _halves(vectors: Floats, *, swapped: bool = False) -> Floats:
    """Vectors (N, D + 2) whose product with those that are `swapped` is less half the squared distance."""
    length = -0.5 * np.einsum("nd,nd->n", vectors, vectors)[:, None]
    one = np.ones_like(length)
    return np.concatenate([vectors, *((one, length) if swapped else (length, one))], axis=1).astype(np.float32)
