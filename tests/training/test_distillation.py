"""Distillation: the predictions of a trained network as targets."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import shoestring
from label_images import label_images
from shoestring.budget import Budget
from shoestring.config.plan import TrainPlan
from shoestring.errors import UserError
from shoestring.models.model import Model
from shoestring.training.distillation import Teacher
from shoestring.training.loop import Hooks, fit

SMALL = {"model": "simplecnn", "width": 0.25, "batch_size": 16}


def _batch(model: Model, images) -> tuple[torch.Tensor, torch.Tensor]:
    return model.prepare(torch.from_numpy(images.pixels[:8])), torch.from_numpy(images.labels[:8])


def test_targets_are_the_mean_of_smoothed_labels_and_predictions(make_model, images):
    model = make_model(images)
    pixels, labels = _batch(model, images)
    found = Teacher.of(model).targets(pixels, labels, smoothing=0.3, precision="float32")
    classes = len(model.classes)
    smoothed = 0.7 * torch.nn.functional.one_hot(labels, classes) + 0.3 / classes
    expected = (smoothed + model.module.eval()(pixels).softmax(1)) / 2
    torch.testing.assert_close(found, expected)


def test_targets_of_weighted_images_add_up_to_their_weights(make_model, images):
    model = make_model(images)
    pixels, labels = _batch(model, images)
    weights = torch.linspace(0.5, 2, len(labels))
    weighted = model.task.targets(labels, len(model.classes)) * weights[:, None]
    found = Teacher.of(model).targets(pixels, weighted, smoothing=0.1, precision="float32")
    torch.testing.assert_close(found.sum(1), weights)


def test_several_labels_are_distilled_each():
    images = label_images(40)
    model = shoestring.train(images, budget=Budget(epochs=5), flip=False, **SMALL)
    pixels, labels = _batch(model, images)
    found = Teacher.of(model).targets(pixels, labels, smoothing=0.0, precision="float32")
    probability = model.module.eval()(pixels).sigmoid()
    torch.testing.assert_close(found[:, 1], (labels + probability) / 2)
    torch.testing.assert_close(found.sum(1), torch.ones_like(probability))


def test_a_pruned_network_is_distilled_from_the_original_one(images):
    model = shoestring.train(images, budget=Budget(epochs=5), **SMALL)
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    plain, distilled = (
        shoestring.prune(model, images, macs=0.5, distil=distil, budget=Budget(epochs=8, steps=("prune",)))
        for distil in (False, True)
    )
    weights, others = distilled.module.state_dict(), plain.module.state_dict()
    assert any(not torch.equal(weights[name], others[name]) for name in weights)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.module.state_dict().items())


def test_a_network_learns_from_its_teacher_alone(images, make_model, context):
    """With labels that have no weight, predictions become those of the teacher."""
    teacher = shoestring.train(images, budget=Budget(epochs=6), **SMALL)
    plan = TrainPlan(16, "float32", "sgd", learning_rate=0.05, weight_decay=5e-4)
    student, window = make_model(images), Budget(epochs=10, steps=("train",)).window("train")
    fit(student, images, window, plan, context, Hooks(teacher=replace(Teacher.of(teacher), weight=1.0)))
    expected = teacher.predict(images)
    assert (student.predict(images) == expected).mean() > 0.9


def test_predictions_of_the_teacher_count_as_flops(images, make_model, context):
    model = make_model(images)
    teacher, plan = Teacher.of(model), TrainPlan(10, "float32", "sgd", learning_rate=0.1, weight_decay=5e-4)
    amount = 10 * 40 * 6.0 * teacher.macs

    def steps(hooks: Hooks) -> int:
        window = Budget(flops=amount, steps=("train",)).window("train")
        return fit(make_model(images), images, window, plan, context, hooks).steps

    assert steps(Hooks()) == 40 and steps(Hooks(teacher=teacher)) == 30  # a prediction is a third of a step


def test_distillation_without_fine_tuning_is_refused(images):
    model = shoestring.train(images, budget=Budget(epochs=5), **SMALL)
    with pytest.raises(UserError, match="set a budget"):
        shoestring.prune(model, images, macs=0.5, distil=True)
