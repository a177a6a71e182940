from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.evaluation.metrics import collect_predictions, compute_metrics, unmeasured
from shoestring.evaluation.warnings import find_warnings, pruning_warnings

CLASSES = ("ant", "bee", "cow", "dog")


def _metrics(predicted: list[int], labels: list[int], classes: tuple[str, ...] = CLASSES, sure: float = 0.9) -> dict:
    """Metrics of predictions with the confidence `sure`, the rest spread evenly over the other classes."""
    scores = np.full((len(labels), len(classes)), (1 - sure) / max(len(classes) - 1, 1), dtype=np.float32)
    scores[np.arange(len(labels)), predicted] = sure
    predictions = collect_predictions([np.log(scores)], np.array(labels), classes=len(classes))
    return compute_metrics(predictions, classes=classes, split="test").as_dict()


def test_good_model_has_no_warnings():
    labels = [index % 4 for index in range(100)]
    assert find_warnings(_metrics([*labels[:90], *[(label + 1) % 4 for label in labels[90:]]], labels)) == []


def test_collapsed_model_has_all_warnings():
    labels = [index % 4 for index in range(100)]
    accuracy, loss, never = find_warnings(_metrics([2] * 100, labels, sure=0.26))
    assert accuracy == (
        "accuracy 25.0 % on 100 images is not significantly better than always predicting the most frequent class "
        "(25.0 %)"
    )
    assert loss.startswith("loss 1.38") and loss.endswith("equal probabilities for all 4 classes (1.386)")
    assert never == "3 of 4 classes are never predicted: ant, bee, dog"


def test_accuracy_that_was_not_measured_is_a_warning():
    assert find_warnings(unmeasured(CLASSES, "test")) == ["there are no test images, so the accuracy was not measured"]


def test_baseline_is_the_most_frequent_class():
    labels = [0] * 95 + [1] * 5
    constant = _metrics([0] * 100, labels, ("sound", "broken"))
    assert ["accuracy" in text for text in find_warnings(constant)] == [True, False]
    assert find_warnings(constant)[1] == "1 of 2 classes is never predicted: broken"
    assert find_warnings(_metrics(labels, labels, ("sound", "broken"))) == []


def test_uniform_loss_is_a_warning_even_if_accuracy_is_good():
    labels = [index % 4 for index in range(100)]
    assert [text.split()[0] for text in find_warnings(_metrics(labels, labels, sure=0.251))] == ["loss"]
    metrics = {**_metrics(labels, labels), "loss": math.nan}
    assert [text.split()[0] for text in find_warnings(metrics)] == ["loss"]


def test_never_predicted_classes_are_counted_without_those_without_images():
    names = tuple(f"c{index}" for index in range(20))
    labels = [index % 18 for index in range(180)]
    predicted = [label if label < 9 else 0 for label in labels]
    assert find_warnings(_metrics(predicted, labels, names)) == [
        "9 of 18 classes are never predicted: c9, c10, c11, c12, c13 and 4 more"
    ]


@pytest.mark.parametrize("classes", [("only",), CLASSES])
def test_images_of_a_single_class_give_no_warnings(classes):
    assert find_warnings(_metrics([0] * 10, [0] * 10, classes)) == []


@pytest.mark.parametrize(
    ("before", "after", "images", "warns"),
    [
        (0.97, 0.91, 1000, True),
        (0.97, 0.96, 1000, False),
        (0.97, 0.90, 20, False),
        (0.9, 0.95, 1000, False),
        (1.0, 1.0, 10, False),
        (1.0, 0.0, 10, True),
        (0.9, None, 0, False),
    ],
)
def test_significant_accuracy_drop_by_pruning_is_a_warning(before, after, images, warns):
    found = pruning_warnings(before, after, images)
    assert bool(found) == warns
    if warns:
        assert found == [f"validation accuracy fell from {100 * before:.1f} % before pruning to {100 * after:.1f} %"]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(0, 3))
def test_constant_predictions_are_always_a_warning(labels, answer):
    if len(set(labels)) > 1:
        assert any(text.startswith("accuracy") for text in find_warnings(_metrics([answer] * len(labels), labels)))
