from __future__ import annotations

import numpy as np
import pytest

from shoestring.execute.confidence import DEFAULT_CONFIDENCE, choose_confidence, most_probable


def test_the_confidence_is_the_lowest_with_enough_right_predictions():
    probability = np.linspace(0.999, 0.5, 500).astype(np.float32)
    right = np.ones(500, dtype=bool)
    right[200::2] = False  # half of those below the first 200
    confidence = choose_confidence(probability, right)
    above = probability >= confidence
    assert right[above].mean() >= 0.95
    lower = np.sort(np.unique(probability[probability < confidence]))[::-1]
    assert all(right[probability >= other].mean() < 0.95 for other in lower)


def test_equal_probabilities_are_not_separated():
    probability = np.full(100, 0.8, dtype=np.float32)
    right = np.arange(100) < 90
    assert choose_confidence(probability, right) == DEFAULT_CONFIDENCE
    assert choose_confidence(probability, np.ones(100, dtype=bool)) == pytest.approx(0.8)


def test_the_confidence_has_limits():
    probability = np.linspace(0.9, 0.2, 100).astype(np.float32)
    assert choose_confidence(probability, np.ones(100, dtype=bool)) == 0.5
    assert choose_confidence(probability, np.zeros(100, dtype=bool)) == DEFAULT_CONFIDENCE
    few = np.linspace(0.9, 0.8, 19).astype(np.float32)
    assert choose_confidence(few, np.ones(19, dtype=bool)) == DEFAULT_CONFIDENCE
    assert choose_confidence(few[:0], np.zeros(0, dtype=bool)) == DEFAULT_CONFIDENCE


def test_most_probable_classes_until_there_are_enough():
    batches = [np.log(np.array([[0.2, 0.8], [0.7, 0.3]], dtype=np.float32)) for _ in range(3)]
    labels, probabilities = most_probable(batches)
    assert labels.tolist() == [1, 0] * 3
    assert probabilities == pytest.approx([0.8, 0.7] * 3)
    assert len(most_probable(batches, lambda: True)[0]) == 2
    assert len(most_probable([])[0]) == 0
