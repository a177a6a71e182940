from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from shoestring import Classifier
from shoestring.runtime import threads
from shoestring.runtime.threads import ThreadTuner, candidates, restore_threads


class _Machine:
    """Steps whose wall-clock and CPU seconds depend on the number of threads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
        self.count, self.changes = count, 0
        monkeypatch.setattr(torch, "get_num_threads", lambda: self.count)
        monkeypatch.setattr(threads, "set_threads", self._set)

    def _set(self, count: int) -> None:
        self.count, self.changes = count, self.changes + 1

    def run(self, tuner: ThreadTuner, steps: int, cost: Callable[[int], tuple[float, float]]) -> float:
        seconds = 0.0
        for _ in range(steps):
            step, cpu = cost(self.count)
            seconds += step
            tuner.add(1.0, step, cpu)
        return seconds


def _idle(count: int) -> tuple[float, float]:
    return 0.1 / count, 0.1


def _contended(count: int) -> tuple[float, float]:
    """Threads that wait for each other: a single one gets two thirds of a core."""
    return (0.15, 0.1) if count == 1 else (3.0, 0.8)


def test_candidates_are_halved():
    assert (candidates(1), candidates(2), candidates(6)) == ([1], [2, 1], [6, 3, 1])


def test_on_an_idle_machine_all_threads_are_kept(monkeypatch):
    machine = _Machine(monkeypatch, 4)
    machine.run(ThreadTuner(4), 200, _idle)
    assert (machine.count, machine.changes) == (4, 0)


def test_one_thread_is_used_while_the_machine_is_busy_and_all_afterwards(monkeypatch):
    machine = _Machine(monkeypatch, 2)
    tuner = ThreadTuner(2)
    machine.run(tuner, 50, _idle)
    assert machine.run(tuner, 100, _contended) < 100 * 0.15 + 2 * 3.0
    assert machine.count == 1
    machine.run(tuner, 50, _idle)
    assert machine.count == 2


def test_trials_without_gain_cost_at_most_a_twentieth(monkeypatch):
    machine = _Machine(monkeypatch, 1)

    def half_idle(count: int) -> tuple[float, float]:  # one thread has a core, the second shares one
        return (0.1, 0.1) if count == 1 else (0.4, 0.25)

    seconds = machine.run(ThreadTuner(2), 2000, half_idle)
    assert machine.count == 1 and machine.changes > 2
    assert seconds < 1.06 * 2000 * 0.1


def test_slower_steps_that_no_number_of_threads_improves_change_nothing(monkeypatch):
    machine = _Machine(monkeypatch, 2)
    tuner = ThreadTuner(2)
    machine.run(tuner, 50, _idle)
    machine.run(tuner, 60, lambda count: (0.3 / count, 0.3))
    assert machine.count == 2 and machine.changes <= 4


def test_steps_of_another_size_are_compared_only_with_each_other(monkeypatch):
    machine = _Machine(monkeypatch, 2)
    tuner = ThreadTuner(2)
    machine.run(tuner, 50, _idle)
    for _ in range(50):
        tuner.add(0.25, 1.0, 1.9)
    assert (machine.count, machine.changes) == (2, 0)


def test_the_number_of_threads_is_restored():
    before = torch.get_num_threads()
    with restore_threads():
        threads.set_threads(before + 1)
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_a_single_thread_where_the_number_is_tuned():
    before = torch.get_num_threads()
    threads.set_threads(2)
    with threads.single_thread(None):
        assert torch.get_num_threads() == 2
    with threads.single_thread(2):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    threads.set_threads(before)


def test_fit_restores_the_number_of_threads(monkeypatch):
    monkeypatch.setattr(Classifier, "_run", lambda self, *rest: threads.set_threads(torch.get_num_threads() + 1))
    before = torch.get_num_threads()
    X = np.zeros((20, 8, 8), np.uint8)
    Classifier(epochs=1).fit(X, np.arange(20) % 2)
    assert torch.get_num_threads() == before
