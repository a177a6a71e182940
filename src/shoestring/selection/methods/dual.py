"""Difficulty and uncertainty at once, from a short training."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.pool import Pool


def dual(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    window: int = 10,
    order: Literal["highest", "lowest"] = "highest",
) -> NDArray[np.int64]:
    """Images of which a proxy is unsure and in doubt: (1 - mean) x deviation of the confidence (Cho et al. 2025, DUAL).

    Mean and deviation are over sliding windows of so many epochs (of all, where there are fewer), and the scores of all
    windows are averaged. The highest are the most telling where many images are taken, the lowest where few are. Epochs
    in which an image was not seen count as confidence zero. Raises `UserError` for a window below two.
    """
    check_range(window, "dual's window", ge=2)
    confidence = np.nan_to_num(pool.confidence.astype(np.float64))
    length = min(window, len(confidence))
    views = sliding_window_view(confidence, length, axis=0)  # (windows, N, length)
    deviation = views.std(-1, ddof=1) if length > 1 else np.ones(views.shape[:2])
    score = ((1 - views.mean(-1)) * deviation).mean(0)
    return np.lexsort((rng.random(len(pool)), -score if order == "highest" else score))[:size]
