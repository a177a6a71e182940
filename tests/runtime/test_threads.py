from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from shoestring.runtime import threads
from shoestring.runtime.threads import Threads, candidates, unchanged


class _Machine:
    """Steps whose seconds and processor seconds depend on the number of threads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
        self.count, self.changes = count, 0
        monkeypatch.setattr(torch, "get_num_threads", lambda: self.count)
        monkeypatch.setattr(threads, "set_to", self._set)

    def _set(self, count: int) -> None:
        self.count, self.changes = count, self.changes + 1

    def run(self, chooser: Threads, steps: int, cost: Callable[[int], tuple[float, float]]) -> float:
        seconds = 0.0
        for _ in range(steps):
            took, busy = cost(self.count)
            seconds += took
            chooser.add(1.0, took, busy)
        return seconds


def _idle(count: int) -> tuple[float, float]:
    return 0.1 / count, 0.1


def _crowded(count: int) -> tuple[float, float]:
    """Threads that wait for each other: one alone gets two thirds of a processor."""
    return (0.15, 0.1) if count == 1 else (3.0, 0.8)


def test_the_numbers_tried_are_halves():
    assert (candidates(1), candidates(2), candidates(6)) == ([1], [2, 1], [6, 3, 1])


def test_on_an_idle_machine_all_threads_stay(monkeypatch):
    machine = _Machine(monkeypatch, 4)
    machine.run(Threads(4), 200, _idle)
    assert (machine.count, machine.changes) == (4, 0)


def test_beside_other_work_one_thread_is_taken_and_all_again_afterwards(monkeypatch):
    machine = _Machine(monkeypatch, 2)
    chooser = Threads(2)
    machine.run(chooser, 50, _idle)
    assert machine.run(chooser, 100, _crowded) < 100 * 0.15 + 2 * 3.0
    assert machine.count == 1
    machine.run(chooser, 50, _idle)
    assert machine.count == 2


def test_a_trial_that_brings_nothing_costs_a_twentieth_at_most(monkeypatch):
    machine = _Machine(monkeypatch, 1)

    def half_idle(count: int) -> tuple[float, float]:  # one thread has a processor, the second shares one
        return (0.1, 0.1) if count == 1 else (0.4, 0.25)

    seconds = machine.run(Threads(2), 2000, half_idle)
    assert machine.count == 1 and machine.changes > 2
    assert seconds < 1.06 * 2000 * 0.1


def test_slower_steps_that_no_number_of_threads_mends_change_nothing(monkeypatch):
    machine = _Machine(monkeypatch, 2)
    chooser = Threads(2)
    machine.run(chooser, 50, _idle)
    machine.run(chooser, 60, lambda count: (0.3 / count, 0.3))
    assert machine.count == 2 and machine.changes <= 4


def test_another_kind_of_step_is_judged_by_itself(monkeypatch):
    machine = _Machine(monkeypatch, 2)
    chooser = Threads(2)
    machine.run(chooser, 50, _idle)
    for _ in range(50):
        chooser.add(0.25, 1.0, 1.9)
    assert (machine.count, machine.changes) == (2, 0)


def test_the_number_of_threads_is_set_back():
    before = torch.get_num_threads()
    with unchanged():
        threads.set_to(before + 1)
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_one_thread_where_the_number_is_measured():
    before = torch.get_num_threads()
    threads.set_to(2)
    with threads.one(None):
        assert torch.get_num_threads() == 2
    with threads.one(2):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    threads.set_to(before)
