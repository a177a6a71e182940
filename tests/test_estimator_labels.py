"""The estimator with several labels per image."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_score

from label_images import LABELS, label_arrays, noise_images
from shoestring import Classifier, Model, UserError

pytestmark = pytest.mark.usefixtures("arguments")

SETTINGS = {"epochs": 12, "model": "simplecnn", "width": 0.25, "batch_size": 16, "mirrored": False, "device": "cpu"}


@pytest.fixture(scope="module")
def data():
    return label_arrays(100)


@pytest.fixture(scope="module")
def fitted(data) -> Classifier:
    return Classifier(**SETTINGS).fit(*data)


def test_fit_predict_score_save_and_pickle(data, fitted, tmp_path):
    X, y = label_arrays(60, seed=1)
    assert fitted.classes_.tolist() == [0, 1, 2]
    probabilities, predicted = fitted.predict_proba(X), fitted.predict(X)
    assert probabilities.shape == predicted.shape == (60, 3)
    assert np.array_equal(predicted, probabilities >= 0.5)
    assert average_precision_score(y, probabilities) > 0.9
    assert fitted.score(X, y) == (predicted == y).all(1).mean()
    fitted.save(tmp_path / "model")
    assert np.array_equal(Model.load(tmp_path / "model").predict(X), predicted)
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), predicted)


def test_columns_of_a_data_frame_name_the_labels(data):
    X, y = data
    classifier = Classifier(**{**SETTINGS, "epochs": 4}, class_weight={"wings": 3.0})
    classifier.fit(X, pd.DataFrame(y, columns=list(LABELS)), validation_data=label_arrays(30, seed=1))
    assert classifier.classes_.tolist() == list(LABELS) == list(classifier.model_.classes)
    assert classifier.model_.temperature != 1


def test_weights(data):
    X, y = data
    weights = np.ones(len(X))
    weights[:20] = 0
    quick = {**SETTINGS, "epochs": 4}
    by_weight = Classifier(**quick).fit(X, y, sample_weight=weights)
    assert np.array_equal(by_weight.predict_proba(X), Classifier(**quick).fit(X[20:], y[20:]).predict_proba(X))
    noise = noise_images(100).pixels[..., 0]
    settings = {**quick, "validation_fraction": None}
    plain, balanced = (
        Classifier(**settings, class_weight=given).fit(noise, y).predict_proba(noise)[:, 2].mean()
        for given in (None, "balanced")
    )
    assert balanced > plain + 0.1


def test_select_prune_and_cross_validate(data):
    X, y = data
    settings = {**SETTINGS, "epochs": 16, "examples": 60, "params": 0.6}
    classifier = Classifier(**settings).fit(X, y)
    assert classifier.subset_ is not None and classifier.subset_.method == "random"
    assert classifier.predict(X).shape == y.shape
    scores = cross_val_score(Classifier(**{**SETTINGS, "epochs": 4}), X, y, cv=2, scoring="average_precision")
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda X, y: (X, y * 2), r"y has shape \(100, 3\) and holds 2; expected one label for each image, or 0 or 1"),
        (lambda X, y: (X, y[:50]), r"y has shape \(50, 3\); expected 0 or 1 for each of 100 images and 3 labels"),
        (lambda X, y: (X, y * [1, 1, 0]), "label '2' of y never occurs: leave its column out, or add such images"),
        (lambda X, y: (X, np.eye(3)[np.arange(100) % 3]), "one-hot"),
    ],
)
def test_labels_that_do_not_fit(data, change, text):
    with pytest.raises(UserError, match=text):
        Classifier(**SETTINGS).fit(*change(*data))
    X, y = data
    with pytest.raises(UserError, match=r"unknown class in class_weights? '7'"):
        Classifier(**SETTINGS, class_weight={7: 2.0}).fit(X, y)
