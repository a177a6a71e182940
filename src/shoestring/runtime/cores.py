"""How many CPU cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

_LIMIT = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds per period of so many, or "max"


def cores() -> int:
    """Return the number of CPU cores that this process may use, by affinity and by the limit of a container."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _LIMIT.read_text(encoding="ascii").split()
        return max(1, min(count, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # not Linux, or no limit
        return count
