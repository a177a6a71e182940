"""ZCore: coverage minus redundancy in random pairs of feature dimensions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.algorithms.similarity import Floats, Indices
from shoestring.selection.pool import Pool

_STRIDE = 16  # every 16th image is used to bound the distance of the nearest ones


def zcore(
    pool: Pool, size: int, *, rng: np.random.Generator, samples: float = 4.0, neighbors: int = 1000
) -> NDArray[np.int64]:
    """Images that cover the feature space without redundancy, label-free (ZCore, Griffin et al. 2026).

    Each sample is a point in two random dimensions, from a triangular distribution with the minimum, median and maximum
    of the features. The image nearest to it in L1 distance gains 1; its nearest `neighbors` in these dimensions lose 1
    in total, in proportion to their distance to the power of -4. Scores start at random between 0 and 1, and the
    highest are selected. `samples` are drawn per image: O(samples N^2) time. Its authors draw a million, 20 per image
    of CIFAR-10. Raises `UserError` for fewer than one neighbor and for no samples.
    """
    check_range(samples, "zcore's samples", gt=0)
    check_range(neighbors, "zcore's neighbors", ge=1)
    count = len(pool)
    shuffled = rng.permutation(count)  # among identical images the first gains
    columns = np.ascontiguousarray(pool.features[shuffled].T)
    score = rng.random(count)
    if count > 1:
        score += _sampled_scores(columns, math.ceil(samples * count), min(neighbors, count - 1), rng)
    return shuffled[np.argsort(-score, kind="stable")[:size]]


def _sampled_scores(columns: Floats, samples: int, neighbors: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Gains minus losses of each image (N,) over all samples, for features (D, N)."""
    score = np.zeros(columns.shape[1])
    planes = _random_planes(len(columns), samples, rng)
    points = _triangular(columns, planes, rng)
    for (first, second), (x, y) in zip(planes, points):
        xs, ys = columns[first], columns[second]
        pick = int(_l1_distances(xs, ys, x, y).argmin())
        score[pick] += 1
        distances = _l1_distances(xs, ys, xs[pick], ys[pick])
        distances[pick] = np.inf
        near = _nearest(distances, neighbors)
        score[near] -= _penalties(distances[near])
    return score


def _random_planes(dimensions: int, samples: int, rng: np.random.Generator) -> Indices:
    """Two different dimensions per sample (samples, 2); the same one twice if there is only one."""
    first = rng.integers(dimensions, size=samples)
    second = (first + rng.integers(1, max(dimensions, 2), size=samples)) % dimensions
    return np.stack([first, second], 1)


def _triangular(columns: Floats, planes: Indices, rng: np.random.Generator) -> Floats:
    """Points (samples, 2) in these dimensions, by inverse transform sampling of the triangular distribution."""
    low, mode, high = (find(columns, axis=1)[planes].astype(np.float64) for find in (np.min, np.median, np.max))
    quantile = rng.random(planes.shape)
    rising = low + np.sqrt(quantile * (high - low) * (mode - low))
    falling = high - np.sqrt((1 - quantile) * (high - low) * (high - mode))
    return np.where(quantile * (high - low) < mode - low, rising, falling).astype(np.float32)


def _l1_distances(xs: Floats, ys: Floats, x: np.float32, y: np.float32) -> Floats:
    """L1 distances (N,) to a point."""
    result, dy = xs - x, ys - y
    np.abs(result, out=result)
    result += np.abs(dy, out=dy)
    return result


def _nearest(distances: Floats, count: int) -> Indices:
    """Indices of the `count` smallest distances (N,), in no order.

    A sample gives a bound that they rarely exceed, so that only a few have to be partitioned.
    """
    sample = distances[::_STRIDE]
    kth = min(2 * count // _STRIDE + 8, len(sample) - 1)
    near = np.flatnonzero(distances <= np.partition(sample, kth)[kth])
    if len(near) < count:
        near = np.arange(len(distances))
    return near[np.argpartition(distances[near], count - 1)[:count]]


def _penalties(distances: Floats) -> NDArray[np.float64]:
    """Penalties (K,) that add up to 1, in proportion to distance^-4; images at distance zero take all of it."""
    least = distances.min()
    weight = (distances == 0).astype(np.float64) if least == 0 else (least / distances.astype(np.float64)) ** 4
    return weight / weight.sum()
