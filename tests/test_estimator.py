from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from shoestring import Classifier, Model, UserError

SETTINGS = {"epochs": 16, "model": "simplecnn", "mirrored": False, "device": "cpu"}


@pytest.fixture
def named(images) -> tuple[np.ndarray, np.ndarray]:
    """Images (60, 8, 8) and labels that are words."""
    return images.pixels[..., 0], np.array(["cow", "ant", "bee"])[images.targets]


def test_fit_predict_and_score_with_words_for_labels(named, make_images):
    X, y = named
    classifier = Classifier(**SETTINGS).fit(X, y)
    assert classifier.classes_.tolist() == ["ant", "bee", "cow"]
    assert classifier.subset_ is None
    assert classifier.n_features_in_ == 64
    assert set(classifier.ledger_) == {"train"}
    probabilities = classifier.predict_proba(X)
    assert probabilities.shape == (60, 3)
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
    assert np.array_equal(classifier.predict(X), classifier.classes_[probabilities.argmax(1)])
    assert classifier.score(X, y) == (classifier.predict(X) == y).mean() > 0.8


def test_labels_of_any_kind_come_back(named):
    X, _ = named
    y = np.arange(60) % 3 * 10 - 5
    classifier = Classifier(**{**SETTINGS, "epochs": 8}).fit(X, y)
    assert classifier.predict(X).dtype == y.dtype
    assert set(classifier.predict(X).tolist()) <= {-5, 5, 15}


def test_floats_are_the_same_images(named):
    X, y = named
    classifier = Classifier(**{**SETTINGS, "epochs": 8}).fit(X, y)
    assert np.allclose(classifier.predict_proba(X / 255), classifier.predict_proba(X), atol=1e-5)


def test_parameters_are_kept_as_given_and_cloned():
    classifier = Classifier(time="5m", examples=100, macs=0.5)
    assert classifier.get_params()["time"] == "5m"
    twin = clone(classifier).set_params(seed=3)
    assert {**classifier.get_params(), "seed": 3} == twin.get_params()
    assert not hasattr(twin, "model_")


def test_choosing_training_and_cutting_inside_one_budget(named):
    X, y = named
    settings = {**SETTINGS, "epochs": 30, "examples": 36, "select": "random", "params": 0.5}
    one, same = (Classifier(**settings).fit(X, y) for _ in range(2))
    assert one.subset_ is not None and len(one.subset_) == 36
    assert set(one.ledger_) == {"select", "train", "prune"}
    whole = Classifier(**{**SETTINGS, "epochs": 8}).fit(X, y)
    params = [sum(weight.numel() for weight in c.model_.module.parameters()) for c in (one, whole)]
    assert params[0] <= 0.5 * params[1]
    assert np.array_equal(one.predict_proba(X), same.predict_proba(X))


def test_a_saved_model_is_loaded_as_any_other(named, tmp_path):
    X, y = named
    classifier = Classifier(**{**SETTINGS, "epochs": 8}).fit(X, y)
    classifier.save(tmp_path)
    assert Model.load(tmp_path).classes == ("ant", "bee", "cow")


def test_nothing_works_before_fitting(named, tmp_path):
    with pytest.raises(NotFittedError):
        Classifier(epochs=1).predict(named[0])
    with pytest.raises(NotFittedError):
        Classifier(epochs=1).save(tmp_path)


def test_a_budget_is_needed(named):
    with pytest.raises(UserError, match="one of time, epochs or flops"):
        Classifier().fit(*named)
