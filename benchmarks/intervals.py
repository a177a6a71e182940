"""Confidence intervals of means over seeds."""

from __future__ import annotations

import math
import statistics

from scipy import stats


def half_interval(values: list[float]) -> float:
    """Return half the 95 % t-interval of the mean of two or more values."""
    return float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
