"""How long a step takes at each size of image, and how much slower than before the machine is by now."""

from __future__ import annotations

import math

_PATIENCE = 5.0  # seconds over which a slowdown is averaged: one that passes soon is none
_WORST = 3.0  # a slowdown that is planned for: more than this passes, or nothing helps


class Pace:
    """Smoothed seconds per step, by the side of the images; `first` guesses a size not met yet."""

    def __init__(self, first: float, side: int, *, memory: float = 0.8) -> None:
        self._guess, self._side, self._memory = first, side, memory
        self._recent: dict[int, float] = {}
        self._fastest: dict[int, float] = {}
        self._slowdown = 1.0

    def expect(self, side: int) -> float:
        """Seconds that the next step will take."""
        return self._recent.get(side, self._guess * (side / self._side) ** 2)

    def add(self, side: int, seconds: float) -> None:
        """Take note of one step."""
        known = self._recent.get(side)
        self._recent[side] = seconds if known is None else self._memory * known + (1 - self._memory) * seconds
        self._fastest[side] = min(self._fastest.get(side, seconds), self._recent[side])
        fresh = 1 - math.exp(-seconds / _PATIENCE)
        self._slowdown += fresh * (min(seconds / self._fastest[side], _WORST) - self._slowdown)

    @property
    def slowdown(self) -> float:
        """Seconds per step by now over the least seen: 2.0 when another process has taken half of the machine."""
        return max(self._slowdown, 1.0)
