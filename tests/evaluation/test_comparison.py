from __future__ import annotations

import numpy as np
import pytest

from shoestring.evaluation.comparison import compare


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


def test_classes_are_not_harmed_if_their_number_explains_it():
    labels = np.repeat(np.arange(20), 20)
    after = labels.copy()
    after[:6] = 1  # of class 0: p = 0.03 for it alone
    few = labels < 2
    alone = compare(labels[labels == 0], labels[labels == 0], after[labels == 0], tuple(map(str, range(20))))
    assert alone.most_harmed == ["0"] and alone.per_class[0].p_value == pytest.approx(2 / 2**6)
    assert compare(labels, labels, after, tuple(map(str, range(20)))).most_harmed == []
    assert compare(labels[few], labels[few], after[few], ("0", "1")).per_class[0].p_value == pytest.approx(4 / 2**6)


def test_classes_are_harmed_if_chance_does_not_explain_it():
    labels = np.repeat([0, 1], 50)
    after = np.where((np.arange(100) % 50 < 20) & (labels == 1), 0, labels)
    result = compare(labels, labels, after, ("cat", "dog"))
    assert result.most_harmed == ["dog"]
    assert result.p_value < 1e-4
