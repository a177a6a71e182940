from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from shoestring.evaluation.reliability import reliability_bins
from shoestring.evaluation.significance import change_interval, compare_paired, holm, mcnemar


def _correct(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    one = np.repeat([True, True, False, False], [both, first, second, neither])
    other = np.repeat([True, False, True, False], [both, first, second, neither])
    return one, other


@pytest.mark.parametrize(("first", "second"), [(0, 0), (5, 1), (1, 5), (4, 4), (8, 0)])
def test_p_value_is_that_of_all_assignments_of_the_changed_images(first, second):
    result = compare_paired(*_correct(10, first, second, 3))
    changed = first + second
    extreme = [
        abs(2 * sum(signs) - changed) >= abs(first - second) for signs in itertools.product((0, 1), repeat=changed)
    ]
    assert result.p_value == pytest.approx(np.mean(extreme))
    assert (result.only_first, result.only_second) == (first, second)
    assert result.difference == pytest.approx((first - second) / (13 + changed))


def test_interval_covers_the_difference_as_often_as_it_says():
    rng, covered = np.random.default_rng(0), 0
    cells, truth = [0.6, 0.15, 0.1, 0.15], 0.05
    for counts in rng.multinomial(200, cells, size=1000):
        low, high = compare_paired(*_correct(*counts)).interval
        covered += low <= truth <= high
    assert 0.93 <= covered / 1000 <= 0.98


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_rejects_as_its_step_down_procedure_does(p_values):
    adjusted = holm(p_values)
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
            if (len(p_values) - rank) * p_values[index] > level:
                break
            rejected.add(index)
        assert rejected == {index for index, value in enumerate(adjusted) if value <= level}


def test_bins_of_confidence():
    confidence, correct = np.array([0.05, 0.91, 0.99, 1.0]), np.array([False, True, True, False])
    first, last = reliability_bins(confidence, correct)
    assert first["images"] == 1 and first["accuracy"] == 0.0
    assert last["images"] == 3 and last["confidence"] == pytest.approx(np.mean([0.91, 0.99, 1.0]))
    assert last["interval"][0] < last["accuracy"] < last["interval"][1]


@given(broken=st.integers(0, 300), fixed=st.integers(0, 300))
def test_mcnemar_is_a_binomial_test(broken, fixed):
    expected = binomtest(broken, broken + fixed).pvalue if broken + fixed else 1.0
    assert mcnemar(broken, fixed) == pytest.approx(expected, rel=1e-9)


def test_intervals_contain_the_change_in_most_samples():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(300):
        kinds = rng.choice(3, 100, p=(0.15, 0.05, 0.8))
        low, high = change_interval(int((kinds == 0).sum()), int((kinds == 1).sum()), 100)
        hits += low <= -0.1 <= high
    assert 0.92 * 300 <= hits < 300
    assert change_interval(0, 0, 10)[0] < 0 < change_interval(0, 0, 10)[1]
