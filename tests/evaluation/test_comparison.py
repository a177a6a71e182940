from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2

from shoestring.evaluation.comparison import change_interval, compare, mcnemar


@given(broken=st.integers(0, 300), fixed=st.integers(0, 300))
def test_mcnemar_is_a_binomial_test(broken, fixed):
    expected = binomtest(broken, broken + fixed).pvalue if broken + fixed else 1.0
    assert mcnemar(broken, fixed) == pytest.approx(expected, rel=1e-9)


def test_many_changes_use_the_corrected_chi_squared_test():
    assert mcnemar(1000, 900) == pytest.approx(chi2.sf((100 - 1) ** 2 / 1900, 1), rel=1e-9)


def test_intervals_contain_the_change_in_most_samples():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(300):
        kinds = rng.choice(3, 100, p=(0.15, 0.05, 0.8))
        low, high = change_interval(int((kinds == 0).sum()), int((kinds == 1).sum()), 100)
        hits += low <= -0.1 <= high
    assert 0.92 * 300 <= hits < 300
    assert change_interval(0, 0, 10)[0] < 0 < change_interval(0, 0, 10)[1]


def test_two_models_are_compared_image_by_image():
    labels = np.array([0, 0, 0, 1, 1, 1])
    before, after = np.array([0, 0, 1, 1, 1, 0]), np.array([0, 2, 0, 2, 2, 2])
    result = compare(labels, before, after, ("cat", "dog", "owl"))
    assert (result.broken, result.fixed, result.images) == (3, 1, 6)
    assert result.change == pytest.approx(result.after - result.before)
    assert [(c.name, c.images, c.before, c.after) for c in result.per_class] == [
        ("cat", 3, pytest.approx(2 / 3), pytest.approx(2 / 3)),
        ("dog", 3, pytest.approx(2 / 3), 0.0),
    ]
    assert [(c.name, c.predicted, c.before, c.after) for c in result.confusions] == [
        ("dog", "owl", 0, 3),
        ("cat", "owl", 0, 1),
    ]
    assert result.as_dict()["most_harmed"] == []  # three images prove nothing


def test_classes_are_harmed_if_chance_does_not_explain_it():
    labels = np.repeat([0, 1], 50)
    after = np.where((np.arange(100) % 50 < 20) & (labels == 1), 0, labels)
    result = compare(labels, labels, after, ("cat", "dog"))
    assert result.most_harmed == ["dog"]
    assert result.p_value < 1e-4
