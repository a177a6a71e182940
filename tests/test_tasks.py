from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from shoestring.errors import UserError
from shoestring.tasks import MULTI_LABEL, SINGLE_LABEL, check_same_task, find_task, task_of

OUTPUTS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)) * 3
LABELS = torch.tensor([[0, 1, 1], [0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]])


def test_a_task_is_known_by_the_labels_and_by_its_name():
    assert task_of(np.zeros(3, np.int64)) == task_of(None) == SINGLE_LABEL == find_task("single-label")
    assert task_of(np.zeros((3, 2), np.int64)) == MULTI_LABEL == find_task("multi-label")
    for name in ("several", None, ["multi-label"]):
        with pytest.raises(ValueError, match="task must be single-label or multi-label"):
            find_task(name)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_of_labels_is_the_binary_cross_entropy(smoothing):
    targets = LABELS.float() * (1 - smoothing) + smoothing / 2
    expected = functional.binary_cross_entropy_with_logits(OUTPUTS, targets)
    assert float(MULTI_LABEL.loss(OUTPUTS, LABELS, smoothing=smoothing)) == pytest.approx(float(expected), rel=1e-5)
    probabilities = MULTI_LABEL.targets(LABELS, 3)
    assert float(MULTI_LABEL.loss(OUTPUTS, probabilities, smoothing=smoothing)) == pytest.approx(
        float(expected), rel=1e-5
    )
    weights = torch.rand(6, 3, generator=torch.Generator().manual_seed(1))
    expected = functional.binary_cross_entropy_with_logits(OUTPUTS, targets, weight=weights)
    found = MULTI_LABEL.loss(OUTPUTS, probabilities * weights[:, None], smoothing=smoothing, weighted=True)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_loss_of_classes_is_the_cross_entropy():
    classes = torch.tensor([0, 2, 1, 1, 0, 2])
    expected = functional.cross_entropy(OUTPUTS, classes, label_smoothing=0.1)
    assert torch.equal(SINGLE_LABEL.loss(OUTPUTS, classes, smoothing=0.1), expected)
    assert torch.equal(SINGLE_LABEL.logits(OUTPUTS), OUTPUTS)
    assert torch.equal(SINGLE_LABEL.targets(classes, 3), torch.eye(3)[classes])


@given(st.lists(st.floats(-80, 80, width=32), min_size=1))
def test_scores_of_labels_are_precise_log_odds(values):
    outputs = torch.tensor([values])
    scores = MULTI_LABEL.scores(MULTI_LABEL.logits(outputs).log_softmax(1)).numpy()
    assert np.allclose(scores, outputs, atol=1e-5)
    probabilities = np.exp(MULTI_LABEL.log_probabilities(scores))
    assert np.allclose(probabilities, torch.sigmoid(outputs), atol=1e-6)


def test_counts_and_predictions():
    labels, classes = LABELS.numpy(), np.array(["a", "b", "c"])
    assert MULTI_LABEL.counts(labels, 3).tolist() == [2, 3, 3]
    assert MULTI_LABEL.counts(labels[:0], 3).tolist() == SINGLE_LABEL.counts(labels[:0, 0], 3).tolist() == [0, 0, 0]
    assert MULTI_LABEL.has(labels, 0).tolist() == [False, False, True, True, False, False]
    assert SINGLE_LABEL.has(np.array([2, 1]), 1).tolist() == [False, True]
    probabilities = np.array([[0.5, 0.4, 0.9], [0.1, 0.2, 0.3]], np.float32)
    assert MULTI_LABEL.predictions(probabilities, classes).tolist() == [[1, 0, 1], [0, 0, 0]]
    assert SINGLE_LABEL.predictions(probabilities, classes).tolist() == ["c", "c"]


def test_different_tasks_are_refused():
    check_same_task(MULTI_LABEL, "the model", MULTI_LABEL, "the images")
    with pytest.raises(UserError, match="the images have one class for each image, and the model several labels for"):
        check_same_task(MULTI_LABEL, "the model", SINGLE_LABEL, "the images")
