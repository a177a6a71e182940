"""The modules of benchmarks/origins.py."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
try:
    import measured
    import origins
    import origins_arms
    import origins_filters
    import origins_page
    import origins_words
finally:
    sys.path.pop(0)

__all__ = ["ROOT", "measured", "origins", "origins_arms", "origins_filters", "origins_page", "origins_words"]
