"""Near-duplicate images, found by comparing thumbnails; independent of any network.

A pair counts if two things match: a coarse color thumbnail, and the details that it does not show. The coarse
thumbnail alone matched landscapes under the same sky; of the pairs of CIFAR-10 and of natural scenes that pass both
tests, nearly all that were inspected are the same photograph, cropped, tinted or saved again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.selection.algorithms.similarity import Floats, Indices, inner_products, slices
from shoestring.selection.pool import NO_INDICES

_COARSE, _FINE, _BLURRED = 12, 24, 6  # side in pixels: of the coarse thumbnail, of the details, of the blur they lack
_COARSE_COSINE, _FINE_COSINE = 0.95, 0.85  # least cosine similarity of a match
_DIRECTIONS = 24  # principal directions along which most pairs are ruled out
MIN_SIDE = 16  # pixels; smaller images show no details
_ROWS, _COLUMNS = 2048, 4096  # block size of the comparison
_PAIRS = 65536  # pairs whose details are compared at once


def find_duplicates(images: Images, already: Indices = NO_INDICES) -> Indices:
    """Ascending indices of the images to drop so that the first of each group of near duplicates stays.

    Images in `already` stay, and no others of their groups. Raises `UserError` as `duplicate_groups` does.
    """
    return redundant_images(duplicate_groups(images), already)


def duplicate_groups(images: Images) -> Indices:
    """Group number of each image (N,); most groups have one image.

    Groups are the connected components of the near-duplicate pairs. Raises `UserError` for images that are too small
    to show details.
    """
    if min(images.shape[:2]) < MIN_SIDE:
        raise UserError(
            f"images of {images.shape[0]} x {images.shape[1]} pixels show too little detail to tell duplicates from "
            "similar images. Remove --drop-duplicates."
        )
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, columns = matching_pairs(images, images)
    pairs = (np.ones(len(rows), dtype=bool), (rows, columns))
    return connected_components(coo_array(pairs, shape=(len(images), len(images))), directed=False)[1]


def redundant_images(groups: Indices, already: Indices = NO_INDICES) -> Indices:
    """Ascending indices of the images that are not the first of their group; images in `already` come first."""
    priority = np.arange(len(groups))
    priority[already] -= len(groups)
    order = np.argsort(priority)
    first = order[np.unique(groups[order], return_index=True)[1]]
    return np.setdiff1d(np.arange(len(groups)), np.union1d(first, already))


def count_conflicting(groups: Indices, labels: Indices) -> int:
    """Number of groups whose images have different labels, (N,) or (N, classes)."""
    if labels.ndim == 2:
        labels = np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)
    pairs = np.unique(np.stack([groups, labels]), axis=1)
    return int((np.unique(pairs[0], return_counts=True)[1] > 1).sum())


def find_leaked(train: Images, test: Images) -> Indices:
    """Ascending indices of the test images that have a near duplicate among the training images."""
    return np.unique(matching_pairs(test, train)[0])


def matching_pairs(left: Images, right: Images) -> tuple[Indices, Indices]:
    """Pairs of near duplicates: indices into the left and into the right images."""
    rows, columns = similar_pairs(_thumbnails(left, coarse), _thumbnails(right, coarse), _COARSE_COSINE)
    if not len(rows):
        return rows, columns
    left_matches, right_matches = np.unique(rows), np.unique(columns)
    left_details = _thumbnails(left[left_matches], fine)
    right_details = _thumbnails(right[right_matches], fine)
    left_rows, right_rows = np.searchsorted(left_matches, rows), np.searchsorted(right_matches, columns)
    cosines = np.concatenate(
        [
            np.einsum("nd,nd->n", left_details[left_rows[part]], right_details[right_rows[part]])
            for part in slices(len(rows), _PAIRS)
        ]
    )
    return rows[cosines >= _FINE_COSINE], columns[cosines >= _FINE_COSINE]


def coarse(pixels: Tensor) -> Tensor:
    """Thumbnails (N, C, H, W) minus their mean color, so that brightness and tint matter little."""
    small = _resized(pixels, _COARSE)
    return small - small.mean((2, 3), keepdim=True)


def fine(pixels: Tensor) -> Tensor:
    """High-pass details (N, 1, H, W): gray thumbnails minus their blurred versions."""
    gray = _resized(pixels.mean(1, keepdim=True), _FINE)
    return gray - _resized(_resized(gray, _BLURRED), _FINE)


def _resized(images: Tensor, side: int) -> Tensor:
    return F.interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False)


def _thumbnails(images: Images, kind: Callable[[Tensor], Tensor]) -> Floats:
    """Thumbnails of a kind as vectors (N, D) of unit length."""
    result = []
    for part in slices(len(images), _ROWS):
        pixels = torch.from_numpy(images[part].pixels).permute(0, 3, 1, 2).float()
        vectors = kind(pixels).flatten(1)
        constant = torch.ones(len(vectors), 1)  # so that images of a single color match each other
        result.append(F.normalize(torch.cat([vectors, constant], 1)))
    return torch.cat(result).numpy()


def similar_pairs(left: Floats, right: Floats, min_cosine: float) -> tuple[Indices, Indices]:
    """Pairs (rows of left, rows of right) of at least this cosine similarity, pairs of an image with itself included.

    Exact: a projection never increases distances, so only pairs that are near along a few principal directions are
    compared in full. O(N^2) in these directions, in blocks.
    """
    radius = 2 - 2 * min_cosine  # squared distance of unit vectors
    directions = np.linalg.eigh(inner_products(right.T, right.T))[1][:, -_DIRECTIONS:]
    left_low = _for_distances(inner_products(left, directions.T))
    right_low = _for_distances(inner_products(right, directions.T), right=True)
    result = []
    for rows in slices(len(left), _ROWS):
        for columns in slices(len(right), _COLUMNS):
            close = inner_products(left_low[rows], right_low[columns]) >= -radius / 2 - 1e-5
            row, column = np.nonzero(close)
            row, column = row + rows.start, column + columns.start
            cosines = np.einsum("nd,nd->n", left[row], right[column])
            result.append(np.stack([row, column])[:, cosines >= min_cosine])
    rows, columns = np.concatenate(result, axis=1)
    return rows, columns


def _for_distances(vectors: Floats, *, right: bool = False) -> Floats:
    """Vectors (N, D + 2) such that the product of a left and a right one is minus half their squared distance."""
    squares = -0.5 * np.einsum("nd,nd->n", vectors, vectors)[:, None]
    ones = np.ones_like(squares)
    return np.concatenate([vectors, *((ones, squares) if right else (squares, ones))], axis=1).astype(np.float32)
