"""Measure how long training steps take, how much slower than an idle machine this one is, and how much steps vary."""

from __future__ import annotations

import math

_SLOWDOWN_SECONDS = 5.0  # time constant of the slowdown, so that short disturbances do not count
_EXCESS_SECONDS = 20.0  # time constant with which an unusually slow step is forgotten
_MEAN_SECONDS = 1.0  # time constant of the step time of which the lowest is that of an idle machine
_MIN_STEPS = 5  # steps from which a step time is reliable
_CLOCK_TICK = 1e-6  # seconds of a step that a coarse clock measures as zero
_MAX_SLOWDOWN = 3.0  # a larger slowdown passes, or planning for it does not help


class StepTimer:
    """Smoothed seconds per step, by the work of a step: its FLOPs over those of the whole network at full resolution.

    Each resolution and width is timed separately, because time is not proportional to FLOPs. Before the first step of a
    kind, its time is estimated from `whole`, the seconds of a step of the whole network.
    """

    def __init__(self, whole: float, *, memory: float = 0.8) -> None:
        self._whole, self._memory = whole, memory
        self._recent: dict[float, float] = {}
        self._mean: dict[float, tuple[float, ...]] = {}  # over about a second, of `seconds` and of `idle_seconds`
        self._fastest: dict[float, float] = {}
        self._slowdown = 1.0
        self._steps: dict[float, int] = {}
        self._excess = 0.0

    def expected(self, work: float) -> float:
        """Expected seconds of the next step."""
        return self._recent.get(work, self._whole * work)

    def is_reliable(self, work: float) -> bool:
        """Whether enough steps of this kind have been timed."""
        return self._steps.get(work, 0) >= _MIN_STEPS

    def add(self, work: float, seconds: float, idle_seconds: float | None = None) -> None:
        """Add the time of one step; `idle_seconds` is what it would have taken on an idle machine, if known.

        The fastest second of each kind of step is taken for that of an idle machine: single steps vary on any machine.
        """
        seconds = max(seconds, _CLOCK_TICK)
        idle_seconds = seconds if idle_seconds is None else max(idle_seconds, _CLOCK_TICK)
        recent, mean = self._recent.get(work), self._mean.get(work)
        steps = self._steps[work] = self._steps.get(work, 0) + 1
        if recent is None or mean is None or steps == 2:  # the first step of a kind includes setup that is reused
            recent, mean = seconds, (seconds, idle_seconds)
        self._raise_excess(seconds - recent, seconds)
        self._recent[work] = self._memory * recent + (1 - self._memory) * seconds
        weight = max(1 - math.exp(-seconds / _MEAN_SECONDS), 1 / steps)
        mean = self._mean[work] = tuple(old + weight * (new - old) for old, new in zip(mean, (seconds, idle_seconds)))
        self._fastest[work] = min(*mean, self._fastest[work] if steps > _MIN_STEPS else mean[0])
        weight = 1 - math.exp(-seconds / _SLOWDOWN_SECONDS)
        self._slowdown += weight * (min(seconds / self._fastest[work], _MAX_SLOWDOWN) - self._slowdown)

    def add_trial(self, work: float, seconds: float) -> None:
        """Add a step with another number of threads: it says nothing about other processes, but may be late."""
        self._raise_excess(seconds - self.expected(work), seconds)

    def _raise_excess(self, excess: float, seconds: float) -> None:
        self._excess = max(excess, self._excess * math.exp(-seconds / _EXCESS_SECONDS))

    @property
    def slowdown(self) -> float:
        """Current seconds per step over those of an idle machine: 2.0 if another process takes half of it."""
        return max(self._slowdown, 1.0)

    @property
    def excess(self) -> float:
        """Seconds by which a step may exceed its expected time: the recent maximum, which decays slowly."""
        return self._excess
