"""Class weights in each step that trains: the same as weights of the images."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from shoestring import Budget, UserError, prune, train
from shoestring.config.plan import FineTune, TrainPlan
from shoestring.config.recipe import Train
from shoestring.execute import training

QUICK = {"model": "simplecnn", "width": 0.125, "batch_size": 20}


@pytest.fixture
def uneven(images):
    """Five images of class0 and twenty of each other class."""
    return images[np.flatnonzero((images.targets > 0) | (np.arange(60) < 15))]


def _by_hand(images, ratio: float):
    weights = np.where(images.targets == 0, ratio, 1.0)
    return images.weighted((weights / weights.mean()).astype(np.float32))


def _same(one, other) -> bool:
    pairs = zip(one.module.state_dict().values(), other.module.state_dict().values())
    return all(torch.equal(left, right) for left, right in pairs)


def test_training_weights_the_classes(uneven, context):
    def fit(images, **more):
        return train(images, budget=Budget(epochs=6, steps=("train",)), context=context, **QUICK, **more)

    expected = fit(_by_hand(uneven, 4.0))
    assert _same(fit(uneven, class_weights="balanced"), expected)
    assert _same(fit(uneven, class_weights={"class0": 4.0}), expected)
    assert not _same(fit(uneven), expected)


def test_recovery_after_pruning_weights_the_classes(uneven, make_model, context):
    model = make_model(uneven, width=0.25)

    def cut(images, class_weights=None):
        settings = Train(batch_size=20, class_weights=class_weights)
        budget = Budget(epochs=6, steps=("prune",))
        return prune(model, images, macs=0.6, budget=budget, context=context, settings=settings)

    assert _same(cut(uneven, "balanced"), cut(_by_hand(uneven, 4.0)))
    assert not _same(cut(uneven, "balanced"), cut(uneven))


def test_the_probe_weights_the_classes_of_its_sample(uneven, make_model, context, monkeypatch):
    seen = []
    monkeypatch.setattr(training, "probe_head", lambda model, images, **_: seen.append(images) or images.pixels)
    plan = TrainPlan(20, "float32", "adamw", 1e-3, 0.0, class_weights="balanced", fine_tune=FineTune(probe=True))
    planned = SimpleNamespace(train=plan, model=make_model(uneven))
    training.fit_head(planned, uneven, Budget(epochs=2).window("train"), context)  # type: ignore[arg-type]
    assert np.bincount(seen[0].targets, weights=seen[0].weights) == pytest.approx([15, 15, 15])


def test_unknown_classes_are_refused_before_training(uneven, context):
    with pytest.raises(UserError, match="unknown class in --class-weights 'clas0'"):
        train(uneven, budget=Budget(epochs=6, steps=("train",)), context=context, class_weights={"clas0": 2}, **QUICK)
