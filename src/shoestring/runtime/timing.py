"""Timing of calls and of consecutive steps."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from shoestring.runtime.device import synchronize

T = TypeVar("T")

wall_clock = time.perf_counter
# Seconds that this thread computes, without those in which other processes have its core; too coarse on Windows.
thread_clock = wall_clock if sys.platform == "win32" else time.thread_time


@dataclass(frozen=True)
class Timing:
    """Minimum wall-clock seconds of one call, and minimum CPU seconds of all its threads.

    Minimum, because other processes can only slow a call down. `contention` is wall-clock over CPU seconds of all
    calls: with one thread it is 1 on an idle machine, and 2 where another process takes half of the core.
    """

    seconds: float
    cpu_seconds: float
    contention: float


def time_calls(run: Callable[[], None], limit: float) -> Timing:
    """Time calls for about `limit` seconds: two to nine calls, of which the first is not counted."""
    ends = time.monotonic() + limit
    run()
    best, best_cpu, total, total_cpu = float("inf"), float("inf"), 0.0, 0.0
    for _ in range(8):
        started, cpu_started = time.monotonic(), time.process_time()
        run()
        seconds, cpu = time.monotonic() - started, time.process_time() - cpu_started
        best, best_cpu = min(best, seconds), min(best_cpu, cpu)
        total, total_cpu = total + seconds, total_cpu + cpu
        if time.monotonic() + best > ends:
            break
    return Timing(best, best_cpu, total / max(total_cpu, 1e-9))


def min_seconds(run: Callable[[], None], limit: float) -> float:
    """Return the minimum seconds of one call, measured by `time_calls`."""
    return time_calls(run, limit).seconds


class Stopwatch(Generic[T]):
    """Times consecutive steps without stalling the device.

    CUDA devices run asynchronously and are timed by CUDA events: a step is reported when the next one has been
    launched, so Python is never more than one step ahead. Other accelerators are synchronized after every step.
    """

    def __init__(self, device: torch.device | str) -> None:
        self._device = torch.device(device)
        self.reset()

    def reset(self) -> None:
        """Discard the step that has not been reported yet."""
        self._previous: tuple[T, torch.cuda.Event, torch.cuda.Event] | None = None

    @property
    def pending(self) -> int:
        """Maximum number of steps that were launched and have not been reported."""
        return int(self._previous is not None)

    @contextmanager
    def __call__(self, step: T, report: Callable[[T, float, float], None]) -> Iterator[None]:
        """Time the block; `report` receives a finished step, its wall-clock seconds and its CPU seconds.

        On accelerators both are equal.
        """
        if self._device.type != "cuda":
            started, cpu_started = time.monotonic(), time.process_time()
            yield
            synchronize(self._device)
            seconds = time.monotonic() - started
            report(step, seconds, time.process_time() - cpu_started if self._device.type == "cpu" else seconds)
            return
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        yield
        end.record()
        if self._previous is not None:
            previous, previous_begin, previous_end = self._previous
            previous_end.synchronize()
            seconds = previous_begin.elapsed_time(previous_end) / 1000
            report(previous, seconds, seconds)
        self._previous = step, begin, end
