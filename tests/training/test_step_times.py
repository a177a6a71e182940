from __future__ import annotations

import pytest

from shoestring.training.step_times import StepTimer


def test_step_times_are_smoothed():
    timer = StepTimer(1.0, memory=0.5)
    assert timer.expected(0.25) == 0.25
    for seconds in (2.0, 2.0, 6.0):
        timer.add(1.0, seconds)
    assert timer.expected(1.0) == 4.0
    assert timer.expected(0.25) == 0.25


def test_step_timer_with_a_coarse_clock():
    timer = StepTimer(1.0)
    for seconds in (0.0, 0.0, 0.1):
        timer.add(1.0, seconds)
    assert 0 < timer.expected(1.0) < 0.1
    assert timer.slowdown >= 1.0


def test_slowdown_ignores_a_single_slow_step():
    timer = StepTimer(1.0)
    assert timer.slowdown == 1.0
    for _ in range(100):
        timer.add(1.0, 0.1)
    assert timer.slowdown == 1.0
    timer.add(1.0, 0.5)  # one step in which the machine stalled
    assert timer.slowdown < 1.3
    for _ in range(100):  # twenty seconds at half the speed
        timer.add(1.0, 0.2)
    assert timer.slowdown == pytest.approx(2.0, abs=0.05)
    for _ in range(60):
        timer.add(1.0, 5.0)
    assert timer.slowdown == pytest.approx(3.0, abs=0.01)  # the maximum
    for _ in range(400):
        timer.add(1.0, 0.1)
    assert timer.slowdown == pytest.approx(1.0, abs=0.05)


def test_slowdown_from_the_first_step_on_with_processor_times():
    timer = StepTimer(1.0)
    for _ in range(200):
        timer.add(1.0, 0.2, 0.1)
    assert timer.slowdown == pytest.approx(2.0, abs=0.05)


def test_excess_of_a_slow_step_decays():
    timer = StepTimer(1.0)
    timer.add(1.0, 5.0)  # the first step includes setup
    assert timer.excess == 0
    for _ in range(50):
        timer.add(1.0, 0.1)
    timer.add(1.0, 2.0)
    assert timer.excess == pytest.approx(1.9, abs=0.05)
    for _ in range(400):
        timer.add(1.0, 0.1)
    assert 0 < timer.excess < 0.5


def test_slowdown_of_an_idle_machine_whose_steps_vary():
    timer = StepTimer(1.0)
    for step in range(300):
        timer.add(1.0, 0.06 if step % 7 == 0 else 0.1)
    assert timer.slowdown < 1.15


def test_trials_of_other_threads_are_no_slowdown():
    timer = StepTimer(1.0)
    for _ in range(100):
        timer.add(1.0, 0.1)
    for _ in range(4):
        timer.add_trial(1.0, 1.0)
    assert timer.slowdown == 1.0
    assert timer.expected(1.0) == pytest.approx(0.1)
    assert timer.excess == pytest.approx(0.9, abs=0.01)
