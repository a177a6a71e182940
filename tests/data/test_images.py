from __future__ import annotations

import numpy as np
import pytest

from shoestring.data import Dataset, Images


@pytest.fixture
def images() -> Images:
    store = np.arange(10 * 2 * 3, dtype=np.uint8).reshape(10, 2, 3, 1)
    ids = np.array([f"photo {index}" for index in range(10)])
    return Images(store, np.arange(10) % 3, ["a", "b", "c"], ids, fingerprint="all")


def test_rows_of_rows_keep_their_order_and_share_the_store(images):
    part = images[[7, 1, 4, 3]][[2, 0]]
    assert part.ids.tolist() == ["photo 4", "photo 7"] and part.targets.tolist() == [1, 1]
    np.testing.assert_array_equal(part.pixels, images.pixels[[4, 7]])
    assert part.store is images.store and len(part) == 2 and part.shape == (2, 3, 1)
    assert images[2:5].ids.tolist() == ["photo 2", "photo 3", "photo 4"] and len(images[:0]) == 0


def test_all_pixels_are_the_store_itself(images):
    assert images.pixels is images.store


def test_fingerprints_tell_rows_apart_but_not_the_way_to_them(images):
    assert images[[1, 2]].fingerprint == images[[0, 1, 2]][[1, 2]].fingerprint
    assert len({images.fingerprint, images[[1, 2]].fingerprint, images[[2, 1]].fingerprint}) == 3


def test_counts_name_every_class(images):
    assert images.counts().tolist() == [4, 3, 3] and images[[1]].counts().tolist() == [0, 1, 0]


def test_what_indexes_may_check_that_it_belongs_here(images):
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


def test_the_training_split_owns_the_classes(images):
    assert Dataset("name", images, images[:1], images[:2]).classes == ("a", "b", "c")
