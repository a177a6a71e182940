"""Training of networks whose frozen part is run once for each view of each image."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace

import pytest
import torch

from shoestring.budget import Budget
from shoestring.config.plan import FineTune, StepTimes, TrainPlan
from shoestring.data.augment import Augment
from shoestring.execute import accuracy
from shoestring.training import frozen, setup
from shoestring.training.checkpoint import Checkpoint, Fresh
from shoestring.training.loop import fit
from shoestring.training.setup import prepare

NONE = asdict(Augment(flip=False))
SHIFTED = asdict(Augment(flip=True, shift=0.25))
PLAN = TrainPlan(
    16, "float32", "adamw", learning_rate=1e-2, weight_decay=0.01, augment=NONE, fine_tune=FineTune("layer3", views=1)
)


def _train(model, images, context, plan, *, epochs=4.0, **budget):
    window = Budget(**(budget or {"epochs": epochs}), steps=("train",)).window("train")
    return fit(model, images, window, plan, context), window


def _fine_tuned(plan, **changes):
    return replace(plan, fine_tune=replace(plan.fine_tune, **changes))


def _calls(model):
    """Count the images that the blocks of a network get."""
    counts = Counter()
    for name in ("layer1.0.conv1", "layer3.0.conv1", "linear"):
        layer = model.module.get_submodule(name)
        layer.register_forward_pre_hook(lambda _, inputs, name=name: counts.update({name: len(inputs[0])}))
    return counts


@pytest.mark.parametrize("tune", ["layer3", "head"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_is_the_same_without_augmentation(images, make_model, context, monkeypatch, tune, precision):
    monkeypatch.setattr(setup, "FrozenNorms", lambda model: None)  # rounds differently from the frozen part
    tensors = []
    for views in (0, 1):
        model = make_model(images, "resnet20", width=0.25)
        _train(model, images, context, replace(_fine_tuned(PLAN, tune=tune, views=views), precision=precision))
        tensors.append(model.module.state_dict())
    for name, tensor in tensors[0].items():
        assert torch.allclose(tensor.float(), tensors[1][name].float(), atol=1e-5), name


@pytest.mark.parametrize("views", [1, 3])
def test_the_frozen_part_is_run_once_for_each_view(images, make_model, context, views):
    model = make_model(images, "resnet20", width=0.25)
    counts = _calls(model)
    notes = []
    context = replace(context, log=notes.append)
    plan = replace(_fine_tuned(PLAN, views=views), augment=SHIFTED)
    summary, _ = _train(model, images, context, plan, epochs=8)
    assert summary.epochs == pytest.approx(8, abs=0.5)
    extra = counts["layer1.0.conv1"] - views * 60  # test passes
    assert 0 <= extra < 20
    assert counts["layer3.0.conv1"] >= 8 * 60
    assert f"running the frozen part of resnet20 on 60 images, {views} view{'s' * (views > 1)}" in notes


def test_views_are_used_in_turn_and_mirrored_as_in_each_epoch(images, make_model, context):
    model = make_model(images, "resnet20", width=0.25)
    plan = replace(_fine_tuned(PLAN, views=2), augment=SHIFTED)
    budget = Budget(epochs=4, steps=("train",))
    state = prepare(model, images, budget.window("train"), plan, context, Fresh())
    frozen.run_frozen_part(state, budget.window("train"), context)
    stored = state.batches.outputs
    assert stored is not None and stored.shape[:2] == (2, 60)
    assert not torch.equal(stored[0], stored[1])
    seen = []
    for _ in range(4 * 4):
        batch = state.batches.draw()
        seen += [(int(index), image) for index, image in zip(batch.index, batch.images)]
    for place, (index, image) in enumerate(seen[:240]):
        assert torch.equal(image, stored[(place // 60) % 2, index])


def test_views_are_the_same_for_a_resumed_training(images, make_model, context):
    plan, stored = replace(_fine_tuned(PLAN, views=2), augment=SHIFTED), []
    for _ in range(2):
        model = make_model(images, "resnet20", width=0.25)
        window = Budget(epochs=4, steps=("train",)).window("train")
        state = prepare(model, images, window, plan, context, Fresh())
        for _ in range(len(stored) * 3):
            state.batches.draw()
        frozen.run_frozen_part(state, window, context)
        stored.append(state.batches.outputs)
    assert torch.equal(*stored)


def test_an_interrupted_training_continues_with_the_same_result(images, make_model, context, tmp_path, every_step):
    plan = replace(_fine_tuned(PLAN, views=2), augment={**SHIFTED, "mixup": 0.5})
    results = []
    for stop in (None, 6):
        model, reports = make_model(images, "resnet20", width=0.25), []

        def interrupt(*report, reports=reports, stop=stop):
            reports.append(report)
            if len(reports) == stop:
                raise KeyboardInterrupt

        own = replace(context, folder=tmp_path / str(stop))
        own.folder.mkdir()
        if stop is not None:
            with pytest.raises(KeyboardInterrupt):
                _train(model, images, replace(own, on_progress=interrupt), plan)
            assert Checkpoint(own.folder).load() is not None
            model = make_model(images, "resnet20", width=0.25)
        _train(model, images, own, plan)
        results.append(model.module.state_dict())
    assert all(torch.equal(tensor, results[1][name]) for name, tensor in results[0].items())


def test_only_the_trained_blocks_cost_flops(images, make_model, context):
    flops = []
    for views in (0, 1):
        model = make_model(images, "resnet20", width=0.25)
        budget = Budget(flops=1e9, steps=("train",))
        state = prepare(model, images, budget.window("train"), _fine_tuned(PLAN, views=views), context, Fresh())
        frozen.run_frozen_part(state, budget.window("train"), context)
        flops.append(state.step_cost["flops"])
        part = frozen.frozen_part(model)
        assert part is not None
        assert budget.counted == 2 * views * frozen.part_macs(model, part) * 60
    assert 0 < flops[1] < 0.5 * flops[0]


def test_each_step_runs_the_whole_network_where_there_is_no_time_for_a_view(images, make_model, context, monkeypatch):
    monkeypatch.setattr(frozen, "_MAX_FRACTION", -1.0)
    model, notes = make_model(images, "resnet20", width=0.25), []
    counts = _calls(model)
    plan = replace(PLAN, times=StepTimes(train=1e-5, predict=1e-5))
    _train(model, images, replace(context, log=notes.append), plan, time=3)
    assert "there is no time for that: each step runs the whole network" in notes
    assert counts["layer1.0.conv1"] == pytest.approx(counts["linear"], abs=200)


def test_a_head_learns_from_one_view(images, make_model, context):
    model = make_model(images, "resnet20", width=0.5)
    plan = replace(_fine_tuned(PLAN, tune="head", head_factor=3.0), learning_rate=3e-2)
    _train(model, images, context, plan, epochs=40)
    assert accuracy(model, images) > 0.9
