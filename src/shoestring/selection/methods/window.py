"""The best window in the order of difficulty: easy, middling or hard images, whichever teach most."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.algorithms.similarity import Floats, Places, slices
from shoestring.selection.methods.aum import aum
from shoestring.selection.methods.el2n import el2n
from shoestring.selection.methods.forgetting import forgetting
from shoestring.selection.methods.grand import grand
from shoestring.selection.methods.margin import margin
from shoestring.selection.pool import Pool

_ORDERS = {"margin": margin, "aum": aum, "forgetting": forgetting, "el2n": el2n, "grand": grand}
_ROWS = 8192  # images that are predicted at once


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
    """Images next to each other in the order of difficulty, from where they teach most (BWS, Choi et al. 2024).

    Windows of the wanted size begin at every `step` share of the order, an image at least, from the easiest on. On each
    a linear classifier of the features is fitted by ridge regression, and the window with the highest accuracy on the
    whole pool wins; among equals the easiest. With `counts` (classes,) each class is ordered by itself, gives so many
    images, and its window begins at the same share. Easiest first, the classes in turn. O(k D^2 + D^3 + N D C) for each
    window.
    Raises `UserError` for a step outside 0 to 1 and a ridge that is not positive.
    """
    check_range(step, "window's step", gt=0, le=1)
    check_range(ridge, "window's ridge", gt=0)
    every, order = np.arange(len(pool)), _ORDERS[difficulty]
    groups = [every] if counts is None else [every[pool.labels == label] for label in np.flatnonzero(counts)]
    wanted = [size] if counts is None else counts[counts > 0].tolist()
    ranked = [rows[order(pool.part(rows), len(rows), rng=rng)] for rows in groups]
    starts = np.arange(0, 1 - size / len(pool) + 1e-9, max(step, 1 / len(pool)))
    windows = [_beginning_at(start, ranked, wanted) for start in starts]
    targets = np.eye(len(pool.images.classes))
    return max(windows, key=lambda chosen: _right(pool.features, pool.labels, chosen, targets, ridge))


def _beginning_at(start: float, ranked: list[Places], wanted: list[int]) -> Places:
    """So many of each ranking from this share of it on, merged so that every prefix keeps their proportions."""
    first = [min(round(start * len(rows)), len(rows) - count) for rows, count in zip(ranked, wanted)]
    chosen = [rows[at : at + count] for rows, at, count in zip(ranked, first, wanted)]
    turn = [(np.arange(count) + 0.5) / count for count in wanted]
    return np.concatenate(chosen)[np.argsort(np.concatenate(turn), kind="stable")]


def _right(features: Floats, labels: Places, chosen: Places, targets: NDArray[np.float64], ridge: float) -> int:
    """Images of the pool that a ridge regression fitted on the chosen ones tells right; a row of targets per class."""
    own = features[chosen].astype(np.float64)
    square = np.dot(own.T, own) + ridge * np.eye(own.shape[1])
    weights = np.linalg.solve(square, np.dot(own.T, targets[labels[chosen]])).astype(np.float32)
    parts = slices(len(features), _ROWS)
    return sum(int((np.dot(features[part], weights).argmax(1) == labels[part]).sum()) for part in parts)
