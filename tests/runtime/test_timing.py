from __future__ import annotations

import time

from shoestring.runtime import timing
from shoestring.runtime.timing import Stopwatch, min_seconds


def test_a_stopwatch_reports_each_step():
    reported: list[tuple[str, float]] = []
    watch = Stopwatch[str]("cpu")
    for name in ("one", "two"):
        with watch(name, lambda step, seconds, cpu: reported.append((step, seconds))):
            time.sleep(0.01)
    assert [step for step, _ in reported] == ["one", "two"]
    assert all(0.01 <= seconds < 1 for _, seconds in reported)


def test_the_fastest_of_several_calls_is_measured_within_the_limit():
    waits = iter([0.0, 0.03, 0.01, 0.02, *[0.05] * 99])
    seconds = min_seconds(lambda: time.sleep(next(waits)), 0.1)
    assert 0.01 <= seconds < 0.02


class _Event:
    """A CUDA event of a device whose clock is `now`."""

    now = 0.0
    synchronized: list[_Event] = []

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.at = _Event.now

    def synchronize(self) -> None:
        _Event.synchronized.append(self)

    def elapsed_time(self, later: _Event) -> float:
        return 1000 * (later.at - self.at)


def test_cuda_steps_are_timed_by_events_and_python_is_one_step_ahead(monkeypatch):
    monkeypatch.setattr(timing.torch.cuda, "Event", _Event)
    reported: list[tuple[str, float]] = []
    watch = Stopwatch[str]("cuda")
    assert watch.pending == 0
    for name, seconds in (("one", 1.0), ("two", 2.0), ("three", 3.0)):
        with watch(name, lambda step, seconds, cpu: reported.append((step, seconds))):
            _Event.now += seconds
        assert watch.pending == 1
        _Event.now += 10  # between two steps
    assert reported == [("one", 1.0), ("two", 2.0)] and len(_Event.synchronized) == 2
    watch.reset()
    assert watch.pending == 0
    with watch("four", lambda step, seconds, cpu: reported.append((step, seconds))):
        pass
    assert len(reported) == 2
