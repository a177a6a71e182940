from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from shoestring.budget import Budget
from shoestring.config.plan import FineTune, TrainPlan, to_dict, train_plan
from shoestring.errors import UserError
from shoestring.execute import accuracy
from shoestring.models.frozen_norms import FrozenNorms
from shoestring.training.fine_tuning import freeze, rate_factors
from shoestring.training.heads.logistic_regression import fit_probe
from shoestring.training.heads.regression import STRENGTHS
from shoestring.training.loop import fit
from shoestring.training.optimizer import make_optimizer
from shoestring.training.probe import probe_head, some_of_each_class

PLAN = TrainPlan(10, "float32", "adamw", learning_rate=1e-2, weight_decay=0.01, fine_tune=FineTune("layer3.2"))


def _train(model, images, context, plan=PLAN):
    budget = Budget(epochs=2, steps=("train",))
    return fit(model, images, budget.window("train"), plan, context)


def _tensors(model):
    return {name: tensor.clone() for name, tensor in model.module.state_dict().items()}


def test_only_the_tuned_blocks_change(images, make_model, context):
    model = make_model(images, "resnet20", width=0.25)
    before = _tensors(model)
    _train(model, images, context)
    changed = {name for name, tensor in _tensors(model).items() if not torch.equal(tensor, before[name])}
    expected = {name for name, _ in model.module.named_parameters() if name.startswith(("layer3.2", "linear"))}
    assert changed == expected  # no running statistics among them
    assert all(weight.requires_grad for weight in model.module.parameters())


def test_steps_of_frozen_batch_norms_are_those_without_merging_them(images, make_model, context, monkeypatch):
    plan = replace(PLAN, optimizer="sgd", learning_rate=1e-3, fine_tune=FineTune("all"))
    found, merged = [], FrozenNorms.merged
    for how in (merged, lambda self: nullcontext()):
        calls = []
        monkeypatch.setattr(
            FrozenNorms, "merged", lambda self, how=how, calls=calls: calls.append(len(self)) or how(self)
        )
        model = make_model(images, "resnet20", width=0.25)
        _train(model, images, context, plan)
        found.append(_tensors(model))
        assert len(calls) > 10 and set(calls) == {19}
    for name, tensor in found[0].items():
        torch.testing.assert_close(tensor, found[1][name], rtol=1e-3, atol=1e-5, msg=name)


def test_weights_are_trainable_again_after_an_error(images, make_model, context):
    model = make_model(images, "resnet20", width=0.25)
    with pytest.raises(UserError, match="unknown block of resnet20 'layer9'"):
        _train(model, images, context, replace(PLAN, fine_tune=FineTune("layer9")))
    context = replace(context, on_progress=lambda *values: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        _train(model, images, context)
    assert all(weight.requires_grad for weight in model.module.parameters())


def test_weights_that_the_network_freezes_stay_frozen(images, make_model, context):
    model = make_model(images, "convnet", width=0.25)
    before = [name for name, weight in model.module.named_parameters() if not weight.requires_grad]
    assert before
    _train(model, images, context, replace(PLAN, fine_tune=FineTune("all")))
    assert [name for name, weight in model.module.named_parameters() if not weight.requires_grad] == before


def test_learning_rates_fall_with_the_distance_from_the_head(images, make_model):
    model = make_model(images, "resnet20", width=0.25)
    fine_tune = FineTune("all", head_factor=10.0, decay=0.5)
    factors = rate_factors(model, fine_tune)
    assert factors["linear.weight"] == 10
    assert factors["layer3.2.conv2.weight"] == 1
    assert factors["layer3.1.bn1.weight"] == 0.5
    assert factors["conv1.weight"] == 0.5**9
    (part,) = make_optimizer(model, replace(PLAN, fine_tune=fine_tune)).parts
    rates = {id(weight): group["lr"] for group in part.param_groups for weight in group["params"]}
    assert rates == {id(weight): 1e-2 * factors[name] for name, weight in model.module.named_parameters()}
    decays = {group["weight_decay"] for group in part.param_groups for weight in group["params"] if weight.ndim < 2}
    assert decays == {0.0}


def test_batch_norms_are_in_evaluation_mode_and_frozen_weights_are_returned(images, make_model):
    model = make_model(images, "resnet20", width=0.25)
    frozen = freeze(model, FineTune("head"))
    assert {id(weight) for weight in frozen} == {
        id(weight) for name, weight in model.module.named_parameters() if not name.startswith("linear")
    }
    assert not model.module.bn1.training
    assert freeze(model, None) == []


def test_a_plan_with_fine_tuning_is_saved_and_read():
    assert train_plan(to_dict(PLAN)) == PLAN
    assert train_plan(to_dict(replace(PLAN, fine_tune=None))).fine_tune is None
    older = {name: value for name, value in to_dict(PLAN).items() if name != "fine_tune"}
    assert train_plan(older).fine_tune is None


def test_a_probe_classifies_by_features_that_separate_the_classes():
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    features = (np.eye(3)[labels] + rng.normal(0, 0.2, (90, 3))).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    weights, biases = fit_probe(features, labels, classes=3)
    assert ((features @ weights.T + biases).argmax(1) == labels).mean() > 0.95


def test_a_probe_has_a_row_for_each_of_two_classes():
    features = np.array([[1, 0], [0, 1]] * 5, dtype=np.float32)
    weights, biases = fit_probe(features, np.array([0, 1] * 5), classes=2)
    assert weights.shape == (2, 2)
    assert (features[:2] @ weights.T + biases).argmax(1).tolist() == [0, 1]


def test_one_image_of_a_class_is_enough_for_a_probe():
    features = np.eye(3, dtype=np.float32)
    weights, biases = fit_probe(features, np.arange(3), classes=3)
    assert (features @ weights.T + biases).argmax(1).tolist() == [0, 1, 2]


def test_a_class_without_images_is_never_predicted():
    features = np.eye(3, dtype=np.float32)
    weights, biases = fit_probe(features, np.array([0, 2, 3]), classes=5)
    assert weights.shape == (5, 3)
    assert (features @ weights.T + biases).argmax(1).tolist() == [0, 2, 3]
    assert (np.zeros(3) @ weights.T + biases).argmax() in (0, 2, 3)


def test_the_weights_of_images_count_in_a_probe():
    features, labels = np.ones((10, 1), dtype=np.float32), np.arange(10) % 2
    for favored in (0, 1):
        weights, biases = fit_probe(
            features, labels, classes=2, sample_weight=np.where(labels == favored, 1.0, 0.1).astype(np.float32)
        )
        assert (features @ weights.T + biases).argmax(1).tolist() == [favored] * 10


def test_few_images_are_drawn_equally_from_all_classes(images):
    few = some_of_each_class(images, 7, seed=1)
    assert sorted(few.counts().tolist()) == [2, 2, 3]
    assert len(set(few.ids)) == 7
    assert some_of_each_class(images, 7, seed=2).ids.tolist() != few.ids.tolist()
    assert len(some_of_each_class(images, 1000, seed=0)) == len(images)


def test_the_strength_of_a_probe_is_chosen_by_cross_validation(monkeypatch):
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    noise = rng.normal(size=(60, 40)).astype(np.float32)
    tried = []
    original = LogisticRegression.fit

    def record(self, X, y, sample_weight=None):
        tried.append((self.C, len(X)))
        return original(self, X, y, sample_weight)

    monkeypatch.setattr(LogisticRegression, "fit", record)
    fit_probe(noise / np.linalg.norm(noise, axis=1, keepdims=True), np.arange(60) % 3, classes=3)
    assert [strength for strength, count in tried if count == 40] == [*STRENGTHS] * 3
    assert tried[-1][1] == 60


def test_a_head_becomes_the_probe_of_its_features(images, make_model):
    model = make_model(images, "resnet20", width=0.5)
    before = _tensors(model)
    features = probe_head(model, images)
    assert features.shape == (60, 32)
    changed = {name for name, tensor in _tensors(model).items() if not torch.equal(tensor, before[name])}
    assert changed == {"linear.weight", "linear.bias"}
    assert accuracy(model, images) > 0.9
