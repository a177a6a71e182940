"""What a trained proxy tells about every image."""

from __future__ import annotations

import numpy as np
import pytest

from shoestring.budget import Budget
from shoestring.config import registry
from shoestring.config.recipe import Select
from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.execute import pool_of, proxy, signals_of
from shoestring.planning import selection_method
from shoestring.planning.selection_method import with_method
from shoestring.runtime.context import Context


@pytest.fixture(scope="module")
def signals(make_images):
    images = make_images(60)
    return images, signals_of(images, Select(), Budget(epochs=30, steps=("select", "train")), Context())


def test_probabilities_agree_with_the_margin(signals):
    images, found = signals
    assert found.probabilities.shape == (60, 3)
    assert found.probabilities.dtype == np.float32
    assert found.probabilities.sum(1) == pytest.approx(1, abs=1e-5)
    rows = np.arange(60)
    own = found.probabilities[rows, images.targets].astype(float)
    others = found.probabilities.astype(float)
    others[rows, images.targets] = 0
    assert np.log(own / others.max(1)) == pytest.approx(found.final_margin, rel=1e-3, abs=1e-3)


def test_gradients_are_known_where_errors_are(signals):
    _, found = signals
    assert found.gradient.shape == found.error.shape
    assert np.array_equal(np.isnan(found.gradient), np.isnan(found.error))
    assert np.nanmin(found.gradient) >= 0


def test_images_are_compared_on_the_device_of_the_run(make_images):
    pool = pool_of(make_images(6), Select(), Budget(epochs=1), Context(device="cuda:0"))
    assert pool.device == "cuda:0"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "d2"),
        ({"examples": 60}, "random"),
        ({"examples": 60, "learner": "features"}, "herding"),
        ({"features": "file.npy"}, "herding"),
        ({"features": "file.npy", "learner": "scratch"}, "d2"),
        ({"method": "herding"}, "herding"),
    ],
)
def test_auto_goes_by_how_many_are_taken_and_by_what_will_learn_from_them(images, settings, expected):
    assert with_method(Select(**{"examples": 3, **settings}), images)[0].method == expected
    assert expected in registry.names("select")


def test_auto_compares_no_images_where_there_are_very_many(images, monkeypatch):
    monkeypatch.setattr(selection_method, "_MAX_COMPARED", len(images))
    assert with_method(Select(examples=3), images)[0].method == "d2"
    monkeypatch.setattr(selection_method, "_MAX_COMPARED", len(images) - 1)
    assert with_method(Select(examples=3), images)[0].method == "margin"


def test_auto_covers_very_many_images_without_labels_in_one_pass(images, monkeypatch):
    unlabeled = Images(images.pixels, None, (), images.ids, fingerprint="unlabeled", mirrored=False)
    assert with_method(Select(examples=3), unlabeled)[0].method == "facility_location"
    monkeypatch.setattr(selection_method, "_MAX_COVERED", len(images) - 1)
    assert with_method(Select(examples=3), unlabeled)[0].method == "streaming"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"method": "margin"},
            "margin needs a network .* pass --features, and use a method",
        ),
        (
            {"method": "margin", "features": "x.npy"},
            "margin needs a network .* none: use a method that needs no",
        ),
        ({"method": "herding", "features": "x.npy", "within": "easiest:0.5"}, "--within needs .* none: omit it"),
        ({"method": "herding", "features": "x.npy", "drop_suspects": True}, "--drop-suspects needs .*: omit it"),
    ],
)
def test_what_needs_labels_is_named(images, context, settings, told):
    unlabeled = Images(images.pixels, None, (), images.ids, fingerprint="unlabeled", mirrored=False)
    with pytest.raises(UserError, match=told):
        signals_of(unlabeled, Select(examples=3, **settings), Budget(epochs=1), context)


@pytest.mark.parametrize("collapsed", [True, False])
def test_a_proxy_at_chance_is_warned_about(make_images, monkeypatch, collapsed):
    said: list[str] = []
    if collapsed:
        monkeypatch.setattr(proxy, "margins", lambda logits, labels: np.where(labels == 0, 1.0, -1.0))
    signals_of(make_images(60), Select(), Budget(epochs=30, steps=("select", "train")), Context(log=said.append))
    assert any("no more accurate than always" in text for text in said) is collapsed
