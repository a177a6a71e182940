"""Best window subset: a contiguous range of the difficulty ranking."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.algorithms.similarity import Floats, Indices, slices
from shoestring.selection.balance import interleave
from shoestring.selection.methods.aum import aum
from shoestring.selection.methods.el2n import el2n
from shoestring.selection.methods.forgetting import forgetting
from shoestring.selection.methods.grand import grand
from shoestring.selection.methods.margin import margin
from shoestring.selection.pool import Pool

_RANKINGS = {"margin": margin, "aum": aum, "forgetting": forgetting, "el2n": el2n, "grand": grand}
_ROWS = 8192  # images that are classified at once


def window(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    counts: NDArray[np.int64] | None = None,
    difficulty: Literal["margin", "aum", "forgetting", "el2n", "grand"] = "margin",
    step: float = 0.05,
    ridge: float = 1.0,
) -> NDArray[np.int64]:
    """Contiguous window of the difficulty ranking on which a linear classifier does best (BWS, Choi et al. 2024).

    Windows of `size` images start at every fraction `step` of the ranking, at least one image apart, easiest first. A
    linear classifier of the features is fitted to each by ridge regression, and the window with the highest accuracy on
    the whole pool wins; ties go to the easiest. With `counts` (classes,) each class is ranked separately, and the
    windows of all classes start at the same fraction. Returned easiest first, classes interleaved.
    O(k D^2 + D^3 + N D C) per window.
    Raises `UserError` for a step outside 0 to 1 and a ridge that is not positive.
    """
    check_range(step, "window's step", gt=0, le=1)
    check_range(ridge, "window's ridge", gt=0)
    every, rank = np.arange(len(pool)), _RANKINGS[difficulty]
    groups = [every] if counts is None else [every[pool.labels == label] for label in np.flatnonzero(counts)]
    sizes = [size] if counts is None else counts[counts > 0].tolist()
    rankings = [rows[rank(pool.take(rows), len(rows), rng=rng)] for rows in groups]
    starts = np.arange(0, 1 - size / len(pool) + 1e-9, max(step, 1 / len(pool)))
    windows = [_window_at(start, rankings, sizes) for start in starts]
    targets = np.eye(len(pool.images.classes))
    return max(windows, key=lambda window: _correct(pool.features, pool.labels, window, targets, ridge))


def _window_at(start: float, rankings: list[Indices], sizes: list[int]) -> Indices:
    """The window of each ranking that starts at this fraction, interleaved."""
    first = [min(round(start * len(ranking)), len(ranking) - size) for ranking, size in zip(rankings, sizes)]
    return interleave([ranking[at : at + size] for ranking, at, size in zip(rankings, first, sizes)])


def _correct(features: Floats, labels: Indices, window: Indices, targets: NDArray[np.float64], ridge: float) -> int:
    """Number of images (N, D) classified correctly by ridge regression on the window; one row of targets per class."""
    own = features[window].astype(np.float64)
    gram = np.dot(own.T, own) + ridge * np.eye(own.shape[1])
    weights = np.linalg.solve(gram, np.dot(own.T, targets[labels[window]])).astype(np.float32)
    parts = slices(len(features), _ROWS)
    return sum(int((np.dot(features[part], weights).argmax(1) == labels[part]).sum()) for part in parts)
