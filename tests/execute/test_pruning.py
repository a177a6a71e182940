"""Prune and fine-tune as planned."""

from __future__ import annotations

import copy

import pytest
import torch

from shoestring.budget import Budget
from shoestring.config.recipe import Prune, Recipe, Train
from shoestring.config.units import Size
from shoestring.data import Dataset
from shoestring.errors import UserError
from shoestring.evaluation.cost import count_macs
from shoestring.execute import prune
from shoestring.execute import pruning as module
from shoestring.execute.pruning import Observer
from shoestring.planning.resolve import resolve

HALF = {"macs": Size.parse("0.5", what="--macs"), "method": "magnitude", "scope": "global"}


def test_without_a_budget_the_network_is_cut_and_not_trained(images, make_model, context):
    model, cuts = make_model(images, width=0.5), []
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    pruned, summary = prune(
        model,
        images,
        Prune(**HALF),
        None,
        budget=None,
        context=context,
        observer=Observer(on_cut=lambda *cut: cuts.append(cut)),
    )
    assert summary is None and cuts == [(pruned, None)]
    assert count_macs(pruned) <= 0.5 * count_macs(model)
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())


def test_the_pruned_network_is_fine_tuned_in_its_part_of_the_budget(images, make_model, context):
    model, weights = make_model(images, width=0.5), []
    budget, settings = Budget(epochs=4, steps=("prune",)), Prune(**HALF)
    recipe = Recipe(train=Train(batch_size=15), prune=settings)
    plan = resolve(recipe, Dataset.of(images), budget, context, steps=("prune",), model=model).recovery

    def on_cut(pruned, clusters) -> None:
        weights.append(pruned.module.head.weight.detach().clone())

    pruned, summary = prune(
        model, images, settings, plan, budget=budget, context=context, observer=Observer(on_cut=on_cut)
    )
    assert summary is not None and summary.steps == 16 and budget.counted == pytest.approx(4)
    assert weights[0].shape == pruned.module.head.weight.shape
    assert not torch.equal(weights[0], pruned.module.head.weight)


def test_criteria_get_the_labels_of_the_images_that_they_see(images, make_model, context, monkeypatch):
    seen = {}

    def shrink(model, batches, **settings):
        seen.update(settings, sizes=[len(batch) for batch in batches])
        return model

    monkeypatch.setattr(module, "shrink", shrink)
    prune(make_model(images), images, Prune(**HALF), None, budget=None, context=context)
    assert sum(seen["sizes"]) == 60 and [len(part) for part in seen["labels"]] == seen["sizes"]
    assert torch.cat(seen["labels"]).sort().values.tolist() == sorted(images.targets.tolist())


@pytest.mark.parametrize("head", ["linear", "dual"])
def test_numbers_of_channels_are_rounded_by_the_time_of_a_step(images, make_model, context, monkeypatch, head):
    model, steps = make_model(images, "resnet20", head=head), []
    model.module.train(False)
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    plan = resolve(
        Recipe(train=Train(batch_size=15), prune=Prune(**HALF)),
        Dataset.of(images),
        Budget(time=600, steps=("prune",)),
        context,
        steps=("prune",),
        model=model,
    ).recovery

    def shrink(model, batches, step, **settings):
        steps.append(step)
        if step is not None:
            step(copy.deepcopy(model.module))
        return model

    monkeypatch.setattr(module, "shrink", shrink)
    monkeypatch.setattr(module, "_recover", lambda *args, **more: None)
    for budget in (Budget(time=600), Budget(epochs=2), None, Budget(time=1e-9)):
        prune(model, images, Prune(**HALF), plan, budget=budget, context=context)
    prune(model, images[:1], Prune(**HALF), plan, budget=Budget(time=600), context=context)
    assert [step is not None for step in steps] == [True, False, False, False, False]
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
    assert all(weight.grad is None for weight in model.module.parameters()) and not model.module.training


def test_distillation_needs_a_budget(images, make_model, context):
    with pytest.raises(UserError, match="--distil is a way to fine-tune"):
        prune(make_model(images), images, Prune(**HALF, distil=True), None, budget=None, context=context)
