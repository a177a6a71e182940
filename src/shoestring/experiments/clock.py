"""The time of an experiment: one deadline for all runs, and the equal times of the runs within it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

_REPORT_SECONDS, _REPORT_FRACTION = 3.0, 0.06  # for the summary, its page and the exit; of the time, at most
_TEST_SECONDS, _TEST_FRACTION = 6.0, 0.15  # for testing what was chosen; of the time, at most
_PER_RUN = 0.35  # seconds from the end of a run to the start of the next one
_MARGIN = 0.01  # of the time of each run, which a loaded machine may exceed


@dataclass
class Clock:
    """When the experiment has to end: `total` seconds (None: no limit) after `started`, less those spent `before`.

    `started` is on the scale of `time.monotonic`. `end` is what is reserved for the summary, its page and the exit, and
    `test` what is reserved for testing what was chosen.
    """

    total: float | None
    started: float
    before: float = 0.0
    tests: bool = True

    @property
    def elapsed(self) -> float:
        """Seconds since the start, with those of an interrupted experiment."""
        return self.before + time.monotonic() - self.started

    @property
    def end(self) -> float:
        """Seconds reserved for the summary, its page and the exit."""
        return 0.0 if self.total is None else min(_REPORT_SECONDS, _REPORT_FRACTION * self.total)

    @property
    def test(self) -> float:
        """Seconds reserved for testing what was chosen."""
        return 0.0 if self.total is None or not self.tests else min(_TEST_SECONDS, _TEST_FRACTION * self.total)

    @property
    def for_runs(self) -> float:
        """Seconds that are left for runs."""
        return math.inf if self.total is None else self.total - self.elapsed - self.end - self.test

    @property
    def for_test(self) -> float:
        """Seconds that are left for testing what was chosen."""
        return math.inf if self.total is None else self.total - self.elapsed - self.end

    @property
    def is_over(self) -> bool:
        """Whether runs that are still running must be stopped."""
        return self.for_runs < -(self.end + self.test) / 2

    @property
    def grace(self) -> float:
        """Seconds that an interrupted run may take to save its state."""
        return math.inf if self.total is None else max(self.total - self.elapsed - self.end / 2, 0.5)

    def unit(self, waves: Sequence[float]) -> float:
        """Return the seconds of a run of length 1.

        `waves` are the lengths of the runs that are still to be started, one after the other; several may run at the
        same time. All fit into the time that is left.
        """
        return (self.for_runs - _PER_RUN * len(waves)) / ((1 + _MARGIN) * sum(waves))


def rounds(count: int, factor: int | None) -> list[int]:
    """Return how many of `count` combinations take part in each round of successive halving.

    See Jamieson and Talwalkar (2016). One of so many as `factor` remains in each round, until fewer than `factor` are
    left; without a factor there is one round.
    """
    sizes = [count]
    while factor is not None and sizes[-1] >= factor:
        sizes.append(sizes[-1] // factor)
    return sizes


def waves_of(counts: Sequence[int], *, jobs: int, lengths: Sequence[float]) -> list[float]:
    """Return the lengths of the runs that are started one after the other: so many of each length, `jobs` at a time."""
    return [length for count, length in zip(counts, lengths) for _ in range(math.ceil(count / jobs))]
