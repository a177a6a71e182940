"""How the problem grows while the budget is spent: a schedule says what to train at each fraction of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """What to train at one moment: the side of the images as a fraction of the full resolution."""

    resolution: float = 1.0
