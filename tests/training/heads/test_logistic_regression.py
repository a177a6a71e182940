"""Logistic regression on features of many images, or within a time."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from shoestring.training.heads import logistic_regression, regression
from shoestring.training.heads.logistic_regression import _by_clock, _by_sklearn, fit_probe
from shoestring.training.heads.regression import STRENGTHS


def _rows(count=300, classes=3, size=20, noise=0.6):
    rng, labels = np.random.default_rng(0), np.arange(count) % classes
    features = rng.normal(size=(classes, size))[labels] + rng.normal(0, noise, (count, size))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize("weighted", [False, True])
def test_it_minimizes_the_loss_of_sklearn(weighted):
    features, labels = _rows()
    weights = np.linspace(0.2, 2, 300, dtype=np.float32) if weighted else None
    expected, biases = _by_sklearn(features, labels, weights, 10.0)
    found, own = _by_clock(features, labels, weights, 10.0, end=np.inf, first=None, spectrum=None)
    assert found == pytest.approx(expected, abs=0.02 * float(np.abs(expected).max()))
    assert own - own.mean() == pytest.approx(biases - biases.mean(), abs=0.02)


def test_it_starts_where_another_one_ended():
    features, labels = _rows()
    first = _by_clock(features, labels, None, 10.0, end=np.inf, first=None, spectrum=None)
    again = _by_clock(features, labels, None, 10.0, end=-np.inf, first=first, spectrum=None)  # one iteration
    assert again[0] == pytest.approx(first[0], abs=0.01 * float(np.abs(first[0]).max()))


@pytest.mark.parametrize("classes", [2, 3])
def test_time_and_many_images_give_the_same_classifier(classes, monkeypatch):
    features, labels = _rows(classes=classes)
    labels = np.where(labels == classes - 1, classes, labels)  # a class without images
    usual = fit_probe(features, labels, classes=classes + 1)
    timed = fit_probe(features, labels, classes=classes + 1, seconds=1e6)
    monkeypatch.setattr(logistic_regression, "MANY", 10)
    many = fit_probe(features, labels, classes=classes + 1)
    predicted = [(features @ weights.T + biases).argmax(1) for weights, biases in (usual, timed, many)]
    assert (predicted[0] == predicted[1]).mean() > 0.98
    assert np.array_equal(predicted[1], predicted[2])
    assert (predicted[1] == labels).mean() > 0.95


@pytest.fixture
def clock(monkeypatch):
    """A clock that advances by a second each time it is read; return the strengths and images of all fits."""
    seconds, fitted = count(), []

    def by_clock(features, labels, weights, strength, **more):
        fitted.append((strength, len(features)))
        return _by_clock(features, labels, weights, strength, **more)

    monkeypatch.setattr(logistic_regression, "_by_clock", by_clock)
    for name in ("_TOLERANCE", "_PRECONDITIONED_TOLERANCE"):
        monkeypatch.setattr(regression, name, 0.0)
    monkeypatch.setattr(regression.time, "monotonic", lambda: float(next(seconds)))
    return fitted, seconds


def test_it_ends_with_its_time(clock):
    fitted, seconds = clock
    features, labels = _rows()
    fit_probe(features, labels, classes=3, seconds=100.0)
    assert [strength for strength, images in fitted if images == 200] == [*STRENGTHS] * 3
    assert next(seconds) <= 100 + 12


def test_without_time_to_compare_the_strength_is_the_middle_one(clock):
    fitted, seconds = clock
    features, labels = _rows()
    weights, _ = fit_probe(features, labels, classes=3, seconds=4.0)
    assert fitted[-1] == (STRENGTHS[1], 300)
    assert next(seconds) <= 9
    assert np.isfinite(weights).all()


def test_images_of_one_class_predict_it():
    features, _ = _rows(20)
    weights, biases = fit_probe(features, np.ones(20, np.int64), classes=3)
    assert ((features @ weights.T + biases).argmax(1) == 1).all()
