"""Select as planned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shoestring.budget import Budget
from shoestring.config.recipe import Select
from shoestring.errors import UserError
from shoestring.execute import select, selection


def _select(images, context, notes: list[str] | None = None, **settings):
    context = replace(context, log=(notes if notes is not None else []).append)
    settings = {"method": "random", "examples": 12, **settings}
    return select(images, Select(**settings), budget=Budget(epochs=4), context=context)


def test_a_subset_has_the_seed_and_the_method_of_the_settings(images, context):
    subset = _select(images, replace(context, seed=3))
    assert (subset.method, subset.seed, len(subset)) == ("random", 3, 12)
    assert np.bincount(images.targets[subset.indices]).tolist() == [4, 4, 4]
    assert not np.array_equal(subset.indices, _select(images, context).indices)


def test_earlier_images_come_first(images, context):
    earlier = _select(images, context, examples=6)
    subset = select(
        images, Select("random", 12), budget=Budget(epochs=4), context=replace(context, seed=1), already=earlier
    )
    assert subset.kept == 6 and subset.indices[:6].tolist() == earlier.indices.tolist()
    assert len(set(subset.indices.tolist())) == 12


def test_a_size_that_is_not_there_is_refused_before_a_proxy_is_trained(images, context, monkeypatch):
    monkeypatch.setattr(selection, "find_excluded", lambda *_, **__: pytest.fail("a proxy would be trained"))
    with pytest.raises(UserError, match="there are 60 training images"):
        _select(images, context, method="margin", examples=61)


def test_settings_without_an_effect_are_logged(images, context, tmp_path):
    features = tmp_path / "features.npy"
    np.save(features, np.ones((60, 2), dtype=np.float32))
    notes: list[str] = []
    _select(images, context, notes, signals=str(tmp_path / "signals.npz"), features=str(features), proxy="simplecnn")
    assert not (tmp_path / "signals.npz").exists()
    assert [note.partition(":")[0] for note in notes] == [
        "random uses no training signals",
        "random uses no training signals",
        "random compares no images",
    ]
