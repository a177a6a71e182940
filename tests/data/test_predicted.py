from __future__ import annotations

import numpy as np
import pytest

from shoestring.data.predicted import joined, repeated, unselected, with_predicted


def test_unselected_images_are_the_others_of_the_same_split(images):
    train = images[10:]
    chosen = train[[3, 0]]
    rest = unselected(train, chosen)
    assert sorted([*rest.rows, *chosen.rows]) == list(range(10, 60))
    assert len(unselected(images, images)) == 0


@pytest.mark.parametrize("same_store", [True, False])
def test_predicted_labels_replace_true_ones(make_images, same_store):
    images = make_images()
    labeled = images[[5, 2, 9]]
    others = images[[4, 20]] if same_store else make_images(7, seed=1)[[6, 1]]
    both = with_predicted(labeled, others, np.array([2, 0]))
    assert both.targets.tolist() == [*labeled.targets.tolist(), 2, 0]
    assert np.array_equal(both.pixels, np.concatenate([labeled.pixels, others.pixels]))
    assert both.ids.tolist() == [*labeled.ids.tolist(), *others.ids.tolist()]
    assert both.weights is None and both.classes == images.classes
    assert images.targets.tolist() == make_images().targets.tolist()  # unchanged
    assert both.fingerprint != with_predicted(labeled, others, np.array([2, 1])).fingerprint
    assert (both.store is images.store) == same_store


def test_labeled_images_keep_their_weights(images):
    labeled = images[[5, 2]].weighted(np.array([3.0, 0.5], dtype=np.float32))
    both = with_predicted(labeled, images[[7]], np.array([1]))
    assert both.weights is not None and both.weights.tolist() == [3.0, 0.5, 1.0]


def test_labeled_images_are_a_quarter_of_all(images):
    many = repeated(images[:50], 5)
    assert many.rows.tolist() == [*(list(range(5)) * 3), *range(5, 50)]
    few = images[:8]
    assert repeated(few, 5) is few


def test_images_of_two_stores_are_joined_without_labels(make_images):
    one, other = make_images(5), make_images(4, seed=1)
    both = joined(one[1:], other)
    assert both.labels is None and len(both) == 8
    assert np.array_equal(both.pixels[4:], other.pixels)
