"""Several labels per image from Python."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from shoestring.data import from_arrays
from shoestring.data.indicators import as_indicators, indicator_rows
from shoestring.data.labels import weighted_by_class
from shoestring.errors import UserError
from shoestring.tasks import MULTI_LABEL

ROWS = np.array([[0, 1, 1], [0, 0, 0], [1, 0, 1], [0, 1, 1]])
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 5, 5), dtype=np.uint8)


@pytest.mark.parametrize("given", [ROWS, ROWS.astype(bool), ROWS.astype(float), ROWS.tolist(), csr_matrix(ROWS)])
def test_rows_of_zeros_and_ones_are_labels(given):
    found = as_indicators(given)
    assert found is not None
    values, names = found
    assert values.dtype == np.int64 and values.tolist() == ROWS.tolist() and names == ("0", "1", "2")


def test_a_data_frame_names_its_labels():
    found = as_indicators(pd.DataFrame(ROWS, columns=["cat", "dog", "emu"]))
    assert found is not None and found[1] == ("cat", "dog", "emu")
    assert as_indicators(pd.DataFrame({"cat": [0, 1]})) is None  # one column of classes


@pytest.mark.parametrize("given", [[0, 1], ["a", "b"], np.zeros((2, 1)), np.zeros((2, 2, 2)), 3])
def test_other_labels_are_classes(given):
    assert as_indicators(given) is None


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (ROWS * 2, r"y has shape \(4, 3\) and holds 2; expected one label for each image, or 0 or 1 for each label"),
        ([["cat", "dog"], ["emu", "cat"]], "holds 'cat'"),
        ([[0, np.nan], [1, 0]], "holds nan"),
        ([["cat"], ["cat", "dog"]], "the rows of y are of different sizes.*MultiLabelBinarizer"),
        (np.eye(3), r"one-hot rows: its columns are classes.*by argmax\(1\)"),
    ],
)
def test_values_that_are_no_labels(given, text):
    with pytest.raises(UserError, match=text):
        as_indicators(given)


def test_other_rows_must_have_the_same_labels():
    assert indicator_rows(np.eye(3), 3, count=3).tolist() == np.eye(3).tolist()  # by chance one label each
    with pytest.raises(UserError, match=r"shape \(4, 3\); expected 0 or 1 for each of 5 images and 3 labels"):
        indicator_rows(ROWS, 3, count=5)
    with pytest.raises(UserError, match=r"shape \(4,\); expected 0 or 1 for each of 4 images and 3 labels"):
        indicator_rows(ROWS[:, 0], 3, count=4)


def test_images_from_arrays():
    data = from_arrays(PIXELS, ROWS, classes=["cat", "dog", "emu"], test=(PIXELS[:2], np.eye(3)[:2]), validation=0)
    assert data.train.task == MULTI_LABEL and not data.train.has_one_class_each
    assert data.train.targets.tolist() == ROWS.tolist() and data.train.counts().tolist() == [1, 2, 3]
    assert data.train[[2, 0]].targets.tolist() == ROWS[[2, 0]].tolist()
    assert data.test.targets.tolist() == np.eye(3)[:2].tolist()
    assert repr(data.train) == "Images(4 of 5 x 5 x 1, 3 labels)"
    assert data.train.resized(3).task == MULTI_LABEL
    assert data.train.fingerprint != from_arrays(PIXELS, 1 - ROWS, validation=0).train.fingerprint


def test_labels_without_images_or_names():
    with pytest.raises(UserError, match="label '1' has no training images: add some, or remove the label"):
        from_arrays(PIXELS, ROWS * [1, 0, 1])
    with pytest.raises(UserError, match="labels has 3 columns, and there are 2 classes"):
        from_arrays(PIXELS, ROWS, classes=["cat", "dog"])


def test_weights_of_labels():
    images = from_arrays(PIXELS, ROWS, classes=["cat", "dog", "emu"], validation=0).train
    balanced = weighted_by_class(images, "balanced").weights
    assert balanced is not None and balanced.mean() == pytest.approx(1)
    for column, labels in zip(balanced.T, ROWS.T):
        assert column[labels == 1].sum() == pytest.approx(column[labels == 0].sum())
    named = weighted_by_class(images, {"dog": 4.0}).weights
    assert named is not None and named.mean() == pytest.approx(1)
    assert (named / named[0, 0]).tolist() == [[1, 4, 1], [1, 1, 1], [1, 1, 1], [1, 4, 1]]
    own = weighted_by_class(images.weighted(named), {"cat": 2.0}).weights
    assert own is not None and (own / own[0, 0]).tolist() == [[1, 4, 1], [1, 1, 1], [2, 1, 1], [1, 4, 1]]
    assert weighted_by_class(images, {"dog": 1.0}).weights is None
    assert images.weighted(named)[[2, 0]].weights.tolist() == named[[2, 0]].tolist()
