"""How many threads to compute with: measured, because beside other work two threads can be slower than one.

PyTorch splits each operation between its threads and waits for all of them at its end. Where another process holds one
of the processors, each of some hundred waits a step may last a time slice: steps of milliseconds then take seconds.
A single thread waits for nobody.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

_GAIN = 0.95  # another number is taken when a step takes this fraction of the time at most
_SLOWER, _STALLED = 1.3, 3.0  # ratios to the best mean, and of a single step to it, from which fewer threads are tried
_FREE = 1.15  # seconds per processor second up to which a thread is taken to have its processor to itself
_TRIED = 3  # steps by which a number is judged, after one that is not counted
_MEMORY = 0.7  # of the mean over steps
_CROWDED = 1.6  # and from which threads are taken to wait for processors
_UNKNOWN = 1.3  # between both: some steps are needed to know
_WAIT = 1.0  # seconds between two trials at least
_COST = 20.0  # a trial that brought nothing is followed by this many times its own seconds without another one


@contextlib.contextmanager
def unchanged() -> Iterator[None]:
    """Set the number of threads back to what it was at the end of the block."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        set_to(before)


@contextlib.contextmanager
def one(most: int | None) -> Iterator[None]:
    """One thread inside the block, which waits for nobody, where the number is measured (`most` is not None)."""
    with unchanged():
        if most is not None:
            set_to(1)
        yield


def set_to(count: int) -> None:
    """Compute with this number of threads from here on."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


def candidates(most: int) -> list[int]:
    """The numbers that are tried, falling: `most`, half of it, and so on down to 1."""
    counts = [most]
    while counts[-1] > 1:
        counts.append(counts[-1] // 2)
    return counts


class Threads:
    """Chooses the number of threads while training, from the seconds that real steps take.

    When steps become slower than they were, fewer threads are tried; when the threads in use have their processors to
    themselves, more are. A trial is some steps long, and the mean decides. `most` is the largest number.
    """

    def __init__(self, most: int) -> None:
        self.most, self.count = most, min(torch.get_num_threads(), most)
        self._work: float | None = None
        self._begin_anew(None)

    def _begin_anew(self, work: float | None) -> None:
        self._work = work
        self._mean: dict[int, float] = {}  # smoothed seconds a step, by number of threads
        self._best: dict[int, float] = {}
        self._free = _UNKNOWN  # smoothed seconds of all threads per processor second
        self._trial: list[float] | None = None
        self._back = self.count
        self._wait = 0.0  # seconds until the next trial may begin

    def add(self, work: float, seconds: float, busy: float) -> None:
        """Take note of a step of this size: its seconds, and the processor seconds of all threads in it."""
        if work != self._work:
            if self._trial is not None:
                self._use(self._back)
            self._begin_anew(work)
            return  # the first step of a kind prepares what later ones use
        if self._trial is not None:
            self._judge(seconds)
            return
        count = self.count
        known = self._mean.get(count)
        self._mean[count] = mean = seconds if known is None else _MEMORY * known + (1 - _MEMORY) * seconds
        self._best[count] = best = min(self._best.get(count, seconds), mean)
        self._free = _MEMORY * self._free + (1 - _MEMORY) * seconds * count / max(busy, 1e-9)
        self._wait -= seconds
        if self._wait > 0:
            return
        if count > 1 and (mean > _SLOWER * best or seconds > _STALLED * best or self._free > _CROWDED):
            self._try(count // 2)
        elif count < self.most and self._free < _FREE:
            self._try(min(2 * count, self.most))

    def _try(self, count: int) -> None:
        self._back, self._trial = self.count, []
        self._use(count)

    def _judge(self, seconds: float) -> None:
        """Take in a step of the trial, and end it when it is decided."""
        assert self._trial is not None
        self._trial.append(seconds)
        before = self._mean[self._back]
        if seconds <= _STALLED * before and len(self._trial) <= _TRIED:
            return
        counted = self._trial[1:] or self._trial
        mean, took = sum(counted) / len(counted), sum(self._trial)
        self._trial, self._free, self._wait = None, _UNKNOWN, _WAIT
        if mean < (_GAIN * before if self.count > self._back else before):
            self._mean[self.count] = self._best[self.count] = mean
            return
        self._best[self._back] = before  # slower than it was, but nothing is faster
        self._wait = max(_WAIT, _COST * took)
        self._use(self._back)

    def _use(self, count: int) -> None:
        self.count = count
        set_to(count)
