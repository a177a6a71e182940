from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from shoestring.budget import Budget
from shoestring.config.model_files import newest_snapshot
from shoestring.config.recipe import Train
from shoestring.errors import UserError
from shoestring.growth.compose import compose
from shoestring.models.model import Model
from shoestring.training import snapshots
from shoestring.training.checkpoint import Checkpoint
from shoestring.training.progress import TrainingState
from trainings import fit

SETTINGS = Train(batch_size=10, label_smoothing=0.0)


def _window(epochs: float):
    return Budget(epochs=epochs, steps=("train",)).window("train")


def _poison(model: Model, *steps: int, weights: bool = False) -> None:
    """Let the loss be no number in these steps, counted from the first; or the weights, whatever the loss."""
    count = [0]

    def spoil(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor | None:
        if not module.training:
            return None
        count[0] += 1
        if count[0] not in steps:
            return None
        if weights:
            next(weight for weight in module.parameters() if weight.requires_grad).data.fill_(torch.inf)
            return None
        return output * torch.nan

    model.module.register_forward_hook(spoil)


def _trained(images, make_model, context, steps: tuple[int, ...], **more) -> tuple[Model, list[str], int]:
    model, notes = make_model(images, "convnet", width=0.25), []
    _poison(model, *steps, weights=more.pop("weights", False))
    went = fit(model, images, _window(10), settings=SETTINGS, context=replace(context, log=notes.append), **more)
    return model, notes, went.steps


def test_a_training_that_goes_astray_goes_back_at_half_of_the_rate(images, make_model, context, monkeypatch):
    factors, step = [], TrainingState.step

    def watched(self, factor, **more):
        factors.append(factor * 0.5**self.stepper.rollbacks)
        return step(self, factor, **more)

    monkeypatch.setattr(TrainingState, "step", watched)
    model, notes, steps = _trained(images, make_model, context, (30,))
    assert notes == ["the loss is nan: back to step 25, with half the learning rate"]
    assert steps == 55  # five of the sixty were lost
    assert factors[30] == pytest.approx(factors[29] / 2, rel=0.05)
    assert all(value.isfinite().all() for value in model.module.state_dict().values())
    again, *_ = _trained(images, make_model, context, (30,))
    for name, value in model.module.state_dict().items():
        assert torch.equal(value, again.module.state_dict()[name])


def test_weights_that_are_no_numbers_are_found_before_the_loss_is(images, make_model, context):
    _, notes, _ = _trained(images, make_model, context, (60,), weights=True)
    assert len(notes) == 1 and "with half the learning rate" in notes[0]


def test_it_goes_back_to_a_narrower_network_too_and_ends_with_the_whole(images, make_model, context):
    whole = {name: value.shape for name, value in make_model(images, "convnet", width=0.25).module.state_dict().items()}
    schedule = compose("width", {"until": 0.5})
    model, notes, _ = _trained(images, make_model, context, (33, 60), schedule=schedule)
    assert len(notes) == 2
    assert {name: value.shape for name, value in model.module.state_dict().items()} == whole


def test_three_times_and_no_more(images, make_model, context):
    assert len(_trained(images, make_model, context, (20, 30, 40))[1]) == 3
    notes: list[str] = []
    model = make_model(images)
    _poison(model, 20, 30, 40, 50)
    with pytest.raises(UserError, match=r"training diverged \(the loss is nan\). Use a lower --learning-rate"):
        fit(model, images, _window(10), settings=SETTINGS, context=replace(context, log=notes.append))
    assert len(notes) == 3


def test_rollbacks_are_remembered_by_a_training_that_goes_on(images, make_model, context, tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoint, "due", lambda self: self.file is not None)
    model = make_model(images)
    _poison(model, 3, 5)
    model.module.register_forward_pre_hook(_after(12))
    with pytest.raises(KeyboardInterrupt):
        fit(model, images, _window(10), settings=SETTINGS, context=replace(context, folder=tmp_path))
    saved = Checkpoint(tmp_path).load()
    assert saved is not None and saved.content["counts"][2] == 2


def _after(steps: int):
    count = [0]

    def hook(module: nn.Module, inputs: object) -> None:
        count[0] += module.training
        if count[0] > steps:
            raise KeyboardInterrupt

    return hook


def test_what_diverges_late_names_the_model_of_before(images, make_model, context, tmp_path, monkeypatch):
    monkeypatch.setattr(snapshots, "_MIN_INTERVAL", 0.0)
    monkeypatch.setattr(snapshots, "_OVERHEAD", 1e9)
    around = replace(context, folder=tmp_path)
    with pytest.raises(UserError, match=r"diverged .* An earlier model is in .*snapshot"):
        _trained(images, make_model, around, tuple(range(30, 200)), anytime=True)
    assert newest_snapshot(tmp_path) is not None
