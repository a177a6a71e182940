"""How sure a mean over seeds is."""

from __future__ import annotations

import math
import statistics

from scipy import stats


def half_interval(values: list[float]) -> float:
    """Half the 95 % t-interval of the mean of two values or more."""
    return float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
