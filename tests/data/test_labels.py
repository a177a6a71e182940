from __future__ import annotations

import numpy as np
import pytest

from shoestring.data.labels import check_class_weights, weighted_by_class
from shoestring.errors import UserError


@pytest.fixture
def uneven(images):
    """One image of class0, two of class1 and five of class2."""
    return images[[0, 1, 4, 2, 5, 8, 11, 14]]


def test_balanced_weights_add_up_to_the_same_for_each_class(uneven):
    weights = weighted_by_class(uneven, "balanced").weights
    assert weights is not None and weights.mean() == pytest.approx(1)
    sums = np.bincount(uneven.targets, weights=weights)
    assert sums == pytest.approx([8 / 3] * 3)


def test_weights_by_name_are_relative_to_the_other_classes(uneven):
    weights = weighted_by_class(uneven, {"class1": 4.0}).weights
    assert weights is not None and weights.mean() == pytest.approx(1)
    assert (weights / weights[0]).tolist() == pytest.approx([1, 4, 4, 1, 1, 1, 1, 1])


def test_weights_of_images_and_classes_are_multiplied(uneven):
    own = np.array([1, 2, 1, 1, 1, 1, 1, 3], np.float32)
    weights = weighted_by_class(uneven.weighted(own), {"class1": 4.0}).weights
    assert weights is not None and (weights / weights[0]).tolist() == pytest.approx([1, 8, 4, 1, 1, 1, 1, 3])


def test_equal_weights_are_none(images, uneven):
    assert weighted_by_class(images, "balanced").weights is None
    assert weighted_by_class(uneven, dict.fromkeys(uneven.classes, 2.0)).weights is None
    assert weighted_by_class(uneven, None) is uneven


def test_unknown_classes_are_refused(images):
    check_class_weights({"class1": 2.0}, images.classes)
    check_class_weights("balanced", images.classes)
    with pytest.raises(UserError, match=r"unknown class in --class-weights 'clas1'\. Did you mean 'class1'"):
        check_class_weights({"clas1": 2.0}, images.classes)
