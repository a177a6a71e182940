"""Difficulty and uncertainty from a short training run."""

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
    """Difficulty times uncertainty: (1 - mean) x standard deviation of the confidence (DUAL, Cho et al. 2025).

    Mean and standard deviation are over sliding windows of `window` epochs (of all, if there are fewer), and the scores
    of all windows are averaged. The highest scores are best for large subsets, the lowest for small ones. The
    confidence is zero in epochs in which an image was not seen. Raises `UserError` for a window below two.
    """
    check_range(window, "dual's window", ge=2)
    confidence = np.nan_to_num(pool.confidence.astype(np.float64))
    length = min(window, len(confidence))
    windows = sliding_window_view(confidence, length, axis=0)  # (windows, N, length)
    deviation = windows.std(-1, ddof=1) if length > 1 else np.ones(windows.shape[:2])
    score = ((1 - windows.mean(-1)) * deviation).mean(0)
    return np.lexsort((rng.random(len(pool)), -score if order == "highest" else score))[:size]
