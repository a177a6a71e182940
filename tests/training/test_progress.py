from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn

from shoestring.budget import Budget
from shoestring.config.recipe import Train
from shoestring.growth.compose import compose
from shoestring.planning.preview import preview_training
from shoestring.runtime.context import Context
from shoestring.training.dynamics import Recorder
from trainings import prepare as begin


def test_an_anytime_training_remembers_more_steps(images, make_model):
    shares = {}
    for schedule in ("deadline", "anytime"):
        model = make_model(images, "convnet")
        window = Budget(epochs=20, steps=("train",)).window("train")
        settings = Train(schedule=schedule)
        around = {"context": Context(), "schedule": compose("constant", {})}
        shares[schedule] = begin(model, images, window, settings=settings, **around).average.fraction
    assert shares == {"deadline": 0.05, "anytime": 0.1}


def _begun(images, model, **settings):
    window = Budget(epochs=20, steps=("train",)).window("train")
    around = {"context": Context(), "schedule": compose("constant", {})}
    return begin(model, images, window, settings=Train(ema=False, **settings), **around)


def _gradients(model) -> list[torch.Tensor]:
    """Those of the logits, as steps that follow find them."""
    found: list[torch.Tensor] = []
    last = [layer for layer in model.module.modules() if isinstance(layer, nn.Linear)][-1]

    def watch(layer: nn.Module, inputs: object, logits: torch.Tensor) -> None:
        logits.register_hook(lambda gradient: found.append(gradient.float()))

    last.register_forward_hook(watch)
    return found


@pytest.mark.parametrize(("precision", "scale"), [("bfloat16", 1), ("float16", 1024)])
def test_a_step_in_low_precision_is_about_that_in_full(images, make_model, precision, scale):
    moved, sizes = [], []
    for taken in ("float32", precision):
        model = make_model(images, "simplecnn")
        state = _begun(images, model, precision=taken, optimizer="sgd")
        gradients = _gradients(model)
        before = [weight.detach().clone() for weight in model.module.parameters()]
        state.step(1.0)
        moved.append(torch.cat([(new - old).flatten() for new, old in zip(model.module.parameters(), before)]))
        sizes.append(gradients[0].norm().item())
    assert (moved[0] - moved[1]).norm() < 0.1 * moved[0].norm()
    assert sizes[1] / sizes[0] == pytest.approx(scale, rel=0.05)


def test_in_float16_the_scale_falls_when_training_goes_back(images, make_model):
    model = make_model(images, "simplecnn")
    state = _begun(images, model, precision="float16", optimizer="sgd", learning_rate=1e-9)
    gradients, start = _gradients(model), state.batches.state()
    for rollbacks in (0, 1):
        state.stepper.rollbacks = rollbacks
        state.batches.restore(start)
        state.step(1.0)
    assert (gradients[0].norm() / gradients[1].norm()).item() == pytest.approx(16, rel=0.05)


def test_changes_of_a_step_discard_its_recording(images, make_model, monkeypatch):
    state = _begun(images, make_model(images, "convnet"))
    resets = []
    monkeypatch.setattr(state.stepper.replay, "reset", lambda: resets.append(1))
    saved = state.pack()
    watch, unpack = (lambda: state.watch(Recorder(len(images)))), (lambda: state.unpack(saved))
    for change in (unpack, state.halve_batch_size, state.finish, watch):
        resets.clear()
        change()
        assert resets


def test_a_training_leaves_no_circle_behind(images, make_model):
    state = _begun(images, make_model(images, "convnet"))
    state.step(1.0)
    held = weakref.ref(state)
    gc.disable()
    try:
        del state
        assert held() is None
    finally:
        gc.enable()


def test_a_plan_halves_a_batch_that_does_not_fit_into_memory(images, make_model):
    model = make_model(images)

    def full(module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if module.training and len(inputs[0]) > 16:
            raise torch.OutOfMemoryError("no room")

    window = Budget("100s", steps=("train",)).window("train")
    schedule = compose("constant", {})
    around = {"context": Context(), "schedule": schedule}
    state = begin(model, images, window, settings=Train(batch_size=32), **around)
    model.module.register_forward_pre_hook(full)
    found = preview_training(state, window)
    assert found.batch_size == 16
    assert found.phases[0].epochs == pytest.approx(found.phases[0].steps * 16 / len(images), rel=0.01)
