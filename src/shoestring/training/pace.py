"""How long a step takes at each stage of growth, how much slower than planned the machine is, and how uneven."""

from __future__ import annotations

import math

_MEMORY_SECONDS = 5.0  # over which a slowdown is averaged: one that passes soon is none
_FORGOTTEN = 20.0  # seconds in which most of a step that took far too long is forgotten
_ENOUGH = 5  # steps
_TICK = 1e-6  # seconds of a step that a coarse clock shows as none
_WORST = 3.0  # a slowdown that is planned for: more than this passes, or nothing helps


class Pace:
    """Smoothed seconds per step, by the work of a step as a share of the whole problem's: its operations over all.

    Each resolution and each width is timed by itself, because time does not follow operations; `whole`, the seconds of
    a step of the whole problem, guesses what has not been met yet.
    """

    def __init__(self, whole: float, *, memory: float = 0.8) -> None:
        self._whole, self._memory = whole, memory
        self._recent: dict[float, float] = {}
        self._fastest: dict[float, float] = {}
        self._slowdown = 1.0
        self._steps: dict[float, int] = {}
        self._excess = 0.0

    def expect(self, work: float) -> float:
        """Seconds that the next step will take."""
        return self._recent.get(work, self._whole * work)

    def knows(self, work: float) -> bool:
        """Whether enough steps of this kind were timed to say what one takes."""
        return self._steps.get(work, 0) >= _ENOUGH

    def add(self, work: float, seconds: float, alone: float | None = None) -> None:
        """Take note of one step; `alone` are the seconds it would have taken with nothing else running, if known."""
        seconds = max(seconds, _TICK)
        alone = seconds if alone is None else max(alone, _TICK)
        known = self._recent.get(work)
        steps = self._steps[work] = self._steps.get(work, 0) + 1
        if known is None or steps == 2:  # the first step of a kind prepares what later ones use
            known = seconds
        self._excess = max(seconds - known, self._excess * math.exp(-seconds / _FORGOTTEN))
        self._recent[work] = self._memory * known + (1 - self._memory) * seconds
        self._fastest[work] = min(self._fastest.get(work, alone), alone, self._recent[work])
        fresh = 1 - math.exp(-seconds / _MEMORY_SECONDS)
        self._slowdown += fresh * (min(seconds / self._fastest[work], _WORST) - self._slowdown)

    @property
    def slowdown(self) -> float:
        """Seconds per step by now over those of an idle machine: 2.0 when another process has taken half of it."""
        return max(self._slowdown, 1.0)

    @property
    def excess(self) -> float:
        """Seconds by which a step may exceed what is expected: the most that one did lately, slowly forgotten."""
        return self._excess
