from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, t, ttest_rel

from shoestring.evaluation.reliability import reliability_bins
from shoestring.evaluation.significance import (
    change_interval,
    compare_paired,
    compare_seeds,
    holm,
    mcnemar,
    mean_interval,
)


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


@given(st.lists(st.floats(0.3, 0.7), min_size=2, max_size=8))
def test_interval_of_a_mean_is_that_of_scipy(values):
    mean, interval = mean_interval(values)
    assert mean == pytest.approx(np.mean(values)) and interval is not None
    if np.std(values) > 1e-6:
        expected = t.interval(0.95, len(values) - 1, mean, np.std(values, ddof=1) / np.sqrt(len(values)))
        assert interval == pytest.approx(np.clip(expected, 0, 1))
    assert mean_interval(values[:1]) == (values[0], None)


def test_folds_widen_the_interval():
    values = [0.5, 0.52, 0.54, 0.56, 0.58]
    _, naive = mean_interval(values)
    _, wide = mean_interval(values, overlap=0.25)
    assert naive is not None and wide is not None
    assert wide[1] - wide[0] == pytest.approx((naive[1] - naive[0]) * np.sqrt((0.2 + 0.25) / 0.2))


@given(st.lists(st.tuples(st.floats(0.2, 0.8), st.floats(0.2, 0.8)), min_size=2, max_size=6))
def test_seeds_are_compared_as_scipy_does(pairs):
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    result = compare_seeds(first, second)
    if np.std(np.subtract(first, second)) > 1e-6:
        assert result.p_value == pytest.approx(ttest_rel(first, second).pvalue, abs=1e-9)
    assert result.difference == pytest.approx(np.mean(first) - np.mean(second))
    assert result.interval[0] <= result.difference <= result.interval[1]


def test_folds_make_the_test_more_cautious():
    first, second = [0.8, 0.82, 0.9, 0.85, 0.84], [0.78, 0.8, 0.83, 0.84, 0.8]
    plain, folds = compare_seeds(first, second), compare_seeds(first, second, overlap=0.25)
    differences = np.subtract(first, second)
    error = np.std(differences, ddof=1) * np.sqrt(1 / 5 + 0.25)
    assert folds.p_value == pytest.approx(2 * t.sf(differences.mean() / error, 4)) and folds.p_value > plain.p_value
    half = t.ppf(0.975, 4) * error
    assert folds.interval == pytest.approx((differences.mean() - half, differences.mean() + half))


def test_equal_differences_are_certain():
    assert compare_seeds([0.5, 0.6], [0.5, 0.6]).p_value == 1
    assert compare_seeds([0.6, 0.7], [0.5, 0.6]).p_value == 0
