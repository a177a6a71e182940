"""The number of CPU threads, tuned by measurement, because on a busy machine two threads can be slower than one.

PyTorch splits each operation between its threads and waits for all of them at its end. Where another process occupies a
core, each of the hundred or so waits of a step may last a time slice, and steps of milliseconds then take seconds.
A single thread waits for nobody.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

_GAIN = 0.95  # more threads are used only if the step time falls to this fraction
_SLOWER, _STALLED = 1.3, 3.0  # ratio of the mean (of a single step) to the best mean from which fewer are tried
_UNCONTENDED = 1.15  # contention up to which every thread is assumed to have a core to itself
_CONTENDED = 1.6  # contention from which threads are assumed to wait for cores
_UNKNOWN = 1.3  # initial contention, between both, so that it takes a few steps to reach either
_SMOOTHING = 0.7  # of the exponential moving averages over steps
_TRIAL_STEPS = 3  # after one step that is not counted
_MIN_PAUSE = 1.0  # seconds between two trials
_PAUSE_FACTOR = 20.0  # a trial without gain is followed by a pause of this many times its duration


@contextlib.contextmanager
def restore_threads() -> Iterator[None]:
    """Restore the number of threads at the end of the block."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        set_threads(before)


@contextlib.contextmanager
def single_thread(maximum: int | None) -> Iterator[None]:
    """Use one thread inside the block if the number of threads is tuned (`maximum` is not None)."""
    with restore_threads():
        if maximum is not None:
            set_threads(1)
        yield


def set_threads(count: int) -> None:
    """Set PyTorch's number of threads."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


def candidates(maximum: int) -> list[int]:
    """Numbers of threads to try, in descending order: `maximum`, half of it, and so on down to 1."""
    counts = [maximum]
    while counts[-1] > 1:
        counts.append(counts[-1] // 2)
    return counts


class ThreadTuner:
    """Tunes the number of threads during training, from 1 to `maximum`, by the measured step times.

    When steps become slower, fewer threads are tried; when the threads in use have their cores to themselves, more are.
    A trial lasts a few steps and is decided by their mean.
    """

    def __init__(self, maximum: int) -> None:
        self.maximum, self.count = maximum, min(torch.get_num_threads(), maximum)
        self._work: float | None = None
        self._reset(None)

    @property
    def is_trying(self) -> bool:
        """Whether the next step is one of a trial."""
        return self._trial is not None

    def _reset(self, work: float | None) -> None:
        self._work = work
        self._mean: dict[int, float] = {}  # smoothed step time by number of threads
        self._best: dict[int, float] = {}
        self._contention = _UNKNOWN  # smoothed wall-clock seconds of all threads per CPU second
        self._trial: list[float] | None = None
        self._previous = self.count
        self._pause = 0.0  # seconds until the next trial may start

    def add(self, work: float, seconds: float, cpu_seconds: float) -> None:
        """Record a step: its size, its wall-clock seconds and the CPU seconds of all threads."""
        if work != self._work:
            if self._trial is not None:
                self._use(self._previous)
            self._reset(work)
            return  # the first step of a new size includes one-time setup
        if self._trial is not None:
            self._add_trial_step(seconds)
            return
        count = self.count
        mean = self._mean.get(count)
        self._mean[count] = mean = seconds if mean is None else _SMOOTHING * mean + (1 - _SMOOTHING) * seconds
        self._best[count] = best = min(self._best.get(count, seconds), mean)
        smoothed = _SMOOTHING * self._contention
        self._contention = smoothed + (1 - _SMOOTHING) * seconds * count / max(cpu_seconds, 1e-9)
        self._pause -= seconds
        if self._pause > 0:
            return
        if count > 1 and (mean > _SLOWER * best or seconds > _STALLED * best or self._contention > _CONTENDED):
            self._start_trial(count // 2)
        elif count < self.maximum and self._contention < _UNCONTENDED:
            self._start_trial(min(2 * count, self.maximum))

    def _start_trial(self, count: int) -> None:
        self._previous, self._trial = self.count, []
        self._use(count)

    def _add_trial_step(self, seconds: float) -> None:
        """Record a step of the trial, and end the trial when it is decided."""
        assert self._trial is not None
        self._trial.append(seconds)
        before = self._mean[self._previous]
        if seconds <= _STALLED * before and len(self._trial) <= _TRIAL_STEPS:
            return
        counted = self._trial[1:] or self._trial
        mean, duration = sum(counted) / len(counted), sum(self._trial)
        self._trial, self._contention, self._pause = None, _UNKNOWN, _MIN_PAUSE
        if mean < (_GAIN * before if self.count > self._previous else before):
            self._mean[self.count] = self._best[self.count] = mean
            return
        self._best[self._previous] = before  # slower than it was, but nothing is faster
        self._pause = max(_MIN_PAUSE, _PAUSE_FACTOR * duration)
        self._use(self._previous)

    def _use(self, count: int) -> None:
        self.count = count
        set_threads(count)
