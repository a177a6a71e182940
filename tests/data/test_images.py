from __future__ import annotations

import numpy as np
import pytest

from shoestring.data import Dataset, Images


@pytest.fixture
def images() -> Images:
    store = np.arange(10 * 2 * 3, dtype=np.uint8).reshape(10, 2, 3, 1)
    ids = np.array([f"photo {index}" for index in range(10)])
    return Images(store, np.arange(10) % 3, ["a", "b", "c"], ids, fingerprint="all")


def test_nested_indexing_keeps_order_and_shares_the_store(images):
    part = images[[7, 1, 4, 3]][[2, 0]]
    assert part.ids.tolist() == ["photo 4", "photo 7"] and part.targets.tolist() == [1, 1]
    np.testing.assert_array_equal(part.pixels, images.pixels[[4, 7]])
    assert part.store is images.store and len(part) == 2 and part.shape == (2, 3, 1)
    assert images[2:5].ids.tolist() == ["photo 2", "photo 3", "photo 4"] and len(images[:0]) == 0


def test_pixels_of_all_images_are_the_store(images):
    assert images.pixels is images.store


def test_fingerprints_depend_on_rows_only(images):
    assert images[[1, 2]].fingerprint == images[[0, 1, 2]][[1, 2]].fingerprint
    assert len({images.fingerprint, images[[1, 2]].fingerprint, images[[2, 1]].fingerprint}) == 3


def test_counts_include_every_class(images):
    assert images.counts().tolist() == [4, 3, 3] and images[[1]].counts().tolist() == [0, 1, 0]


def test_index_objects_can_validate_the_images(images):
    class Chosen:
        def indices_for(self, others):
            assert others is images
            return [5]

    assert images[Chosen()].ids.tolist() == ["photo 5"]


def test_images_without_labels(images):
    bare = Images(images.pixels, None, images.classes, images.ids, fingerprint="bare")
    assert bare[[1]].labels is None
    with pytest.raises(ValueError, match="no labels"):
        bare.targets  # noqa: B018


def test_train_split_defines_the_classes(images):
    assert Dataset("name", images, images[:1], images[:2]).classes == ("a", "b", "c")
