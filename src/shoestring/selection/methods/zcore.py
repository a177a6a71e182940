"""ZCore: images that cover random planes through the features, less those that are close to others there."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.algorithms.similarity import Floats, Places
from shoestring.selection.pool import Pool

_SHARE = 16  # one in so many images tells how far the nearest ones can be at most


def zcore(
    pool: Pool, size: int, *, rng: np.random.Generator, samples: float = 4.0, neighbours: int = 1000
) -> NDArray[np.int64]:
    """Images that cover the space of features and do not repeat each other, label-free (ZCore, Griffin et al. 2026).

    Each sample takes two dimensions and in them a point, triangularly distributed between the least, the median and
    the greatest feature. The image nearest to it, by the sum of absolute differences, gains 1; its nearest `neighbours`
    in these dimensions lose 1 together, in proportion to their distance to the power of -4. The scores start at random
    between 0 and 1, and the highest are taken. `samples` are drawn per image, so the time is O(samples N^2); its
    authors draw a million, 20 per image of CIFAR-10. Raises `UserError` for less than one neighbour and for no samples.
    """
    check_range(samples, "zcore's samples", gt=0)
    check_range(neighbours, "zcore's neighbours", ge=1)
    count = len(pool)
    mixed = rng.permutation(count)  # of images at the same place the first gains
    columns = np.ascontiguousarray(pool.features[mixed].T)
    score = rng.random(count)
    if count > 1:
        score += _gained(columns, math.ceil(samples * count), min(neighbours, count - 1), rng)
    return mixed[np.argsort(-score, kind="stable")[:size]]


def _gained(columns: Floats, samples: int, neighbours: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """What each image gains and loses (N,) over all samples of the features (D, N)."""
    score = np.zeros(columns.shape[1])
    planes = _pairs(len(columns), samples, rng)
    points = _triangular(columns, planes, rng)
    for (first, second), (x, y) in zip(planes, points):
        across, along = columns[first], columns[second]
        pick = int(_apart(across, along, x, y).argmin())
        score[pick] += 1
        apart = _apart(across, along, across[pick], along[pick])
        apart[pick] = np.inf
        near = _nearest(apart, neighbours)
        score[near] -= _shares(apart[near])
    return score


def _pairs(dimensions: int, samples: int, rng: np.random.Generator) -> Places:
    """Two different dimensions for each sample (samples, 2); the same twice where there is only one."""
    first = rng.integers(dimensions, size=samples)
    second = (first + rng.integers(1, max(dimensions, 2), size=samples)) % dimensions
    return np.stack([first, second], 1)


def _triangular(columns: Floats, planes: Places, rng: np.random.Generator) -> Floats:
    """Points (samples, 2) in these dimensions, by the inverse of the triangular distribution function."""
    low, mode, high = (find(columns, axis=1)[planes].astype(np.float64) for find in (np.min, np.median, np.max))
    share = rng.random(planes.shape)
    rising = low + np.sqrt(share * (high - low) * (mode - low))
    falling = high - np.sqrt((1 - share) * (high - low) * (high - mode))
    return np.where(share * (high - low) < mode - low, rising, falling).astype(np.float32)


def _apart(across: Floats, along: Floats, x: np.float32, y: np.float32) -> Floats:
    """Sums of absolute differences (N,) to a point."""
    found, rest = across - x, along - y
    np.abs(found, out=found)
    found += np.abs(rest, out=rest)
    return found


def _nearest(apart: Floats, count: int) -> Places:
    """Places of the `count` smallest distances (N,).

    A sample of them mostly tells what these do not exceed, so that only few need be sorted out.
    """
    some = apart[::_SHARE]
    place = min(2 * count // _SHARE + 8, len(some) - 1)
    near = np.flatnonzero(apart <= np.partition(some, place)[place])
    if len(near) < count:
        near = np.arange(len(apart))
    return near[np.argpartition(apart[near], count - 1)[:count]]


def _shares(apart: Floats) -> NDArray[np.float64]:
    """Shares of 1 in proportion to the distances (K,) to the power of -4; images at no distance share it alone."""
    least = apart.min()
    share = (apart == 0).astype(np.float64) if least == 0 else (least / apart.astype(np.float64)) ** 4
    return share / share.sum()
