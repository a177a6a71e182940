"""The proxy: what it tells about every image, and how it is trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shoestring import select
from shoestring.budget import Budget
from shoestring.config.recipe import Select
from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.execute import pool_of, proxy, signals_of
from shoestring.models.inference import embed
from shoestring.runtime.context import Context

COUNTED = Select(proxy="simplecnn", proxy_epochs=8)


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
    ("settings", "message"),
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
def test_what_needs_labels_is_named(images, context, settings, message):
    unlabeled = Images(images.pixels, None, (), images.ids, fingerprint="unlabeled", mirrored=False)
    with pytest.raises(UserError, match=message):
        signals_of(unlabeled, Select(examples=3, **settings), Budget(epochs=1), context)


@pytest.mark.parametrize("collapsed", [True, False])
def test_a_proxy_at_chance_is_warned_about(make_images, monkeypatch, collapsed):
    notes: list[str] = []
    if collapsed:
        monkeypatch.setattr(proxy, "margins", lambda logits, labels: np.where(labels == 0, 1.0, -1.0))
    signals_of(make_images(60), Select(), Budget(epochs=30, steps=("select", "train")), Context(log=notes.append))
    assert any("no more accurate than always" in text for text in notes) is collapsed


def test_the_network_is_trained_for_its_epochs_and_the_budget_does_not_count_them(images, context):
    notes: list[str] = []
    budget = Budget(epochs=3, steps=("select", "train"))
    found = signals_of(images, COUNTED, budget, replace(context, log=notes.append))
    assert any(text.startswith("proxy: simplecnn, 8.0 epochs") for text in notes)
    assert found.confidence is not None and len(found.confidence) == 8
    assert budget.counted == 0 and (found.final_margin > 0).mean() > 0.8


def test_a_frozen_proxy_has_the_features_of_its_weights(images, make_model, context, tmp_path):
    model = make_model(images, width=1.0)
    model.save(tmp_path)
    settings = replace(COUNTED, proxy_weights=str(tmp_path))
    budget = Budget(epochs=1)
    frozen = signals_of(images, replace(settings, proxy_tune="head"), budget, context)
    expected, _ = embed(model, images)
    assert np.allclose(frozen.features, expected, atol=1e-5)
    assert frozen.gradient is not None and np.isfinite(frozen.gradient[0]).all() and len(np.unique(frozen.margin)) > 1
    assert not np.allclose(signals_of(images, settings, budget, context).features, expected, atol=1e-2)


def test_methods_without_signals_say_that_no_proxy_is_trained(images, context):
    notes: list[str] = []
    select(images, 9, method="random", proxy="simplecnn", context=replace(context, log=notes.append))
    assert "random uses no training signals: no proxy was trained" in notes
