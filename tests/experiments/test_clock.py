from __future__ import annotations

import time

import pytest

from shoestring.experiments.clock import Clock, rounds, waves_of


@pytest.mark.parametrize(
    ("count", "factor", "sizes"),
    [(20, None, [20]), (27, 3, [27, 9, 3, 1]), (8, 3, [8, 2]), (5, 2, [5, 2, 1]), (1, 3, [1]), (2, 3, [2])],
)
def test_rounds_of_halving(count, factor, sizes):
    assert rounds(count, factor) == sizes


def test_runs_fit_into_the_time():
    clock = Clock(100.0, time.monotonic())
    waves = waves_of([9, 3, 1], jobs=2, lengths=[1, 3, 9])
    assert waves == [1] * 5 + [3] * 2 + [9]
    unit = clock.unit(waves)
    total = sum(unit * length for length in waves)
    assert total < 100 - clock.end - clock.test < 1.1 * total


def test_time_of_an_interrupted_experiment_counts():
    clock = Clock(100.0, time.monotonic(), before=60.0, tests=False)
    assert clock.for_runs == pytest.approx(100 - 60 - clock.end, abs=0.5) and clock.test == 0
    assert not clock.is_over and Clock(100.0, time.monotonic(), before=100.0).is_over


def test_without_a_time_there_is_no_limit():
    clock = Clock(None, time.monotonic())
    assert clock.for_runs == clock.for_test == float("inf") and not clock.is_over
