from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from networks import difference
from shoestring.budget import Budget
from shoestring.config.recipe import Train
from shoestring.config.stages import Stages
from shoestring.errors import UserError
from shoestring.growth.compose import compose
from shoestring.models.model import Model
from shoestring.training import loop
from shoestring.training.early_stopping import Score
from shoestring.training.setup import prepare_growth
from trainings import fit, interrupt_and_resume
from trainings import prepare as begin

SETTINGS = Train(batch_size=10, label_smoothing=0.0)
STAGES = compose(Stages.parse("0.5@0.75,0.7@0.75,1@1"))


def _shapes(model: Model) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in model.module.state_dict().items()}


def _weights(model: Model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.module.state_dict().items()}


def _window(epochs: float = 3.0):
    return Budget(epochs=epochs, steps=("train",)).window("train")


def _begin(model: Model, images, context, schedule, optimiser: str):
    settings = replace(SETTINGS, optimizer=optimiser)
    return begin(model, images, _window(), settings=settings, context=context, schedule=schedule)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("convnet", {"width": 0.3}),
        ("convnet", {"width": 0.25, "norm": False}),
        ("resnet20", {"shortcut": "A", "width": 0.7}),
        ("resnet18", {"width": 0.15}),
        ("vgg8", {"width": 0.1}),
        ("timm:test_resnet", {"width": None}),
    ],
)
def test_training_ends_with_exactly_the_network_asked_for(make_images, make_model, context, name, options):
    images = make_images(20, side=16, channels=3)
    options = {key: value for key, value in options.items() if value is not None}
    model = make_model(images, name, **options) if "width" in options else _timm(images, make_model, name)
    asked, seen = _shapes(model), []
    model.module.register_forward_hook(
        lambda module, *_: (
            seen.append(sum(weight.numel() for weight in module.parameters()))
            if module.training and module is model.module  # not a copy on which a cut is tried
            else None
        )
    )
    went = fit(model, images, _window(6), settings=SETTINGS, context=context, schedule=STAGES)
    assert went.steps == 12
    assert _shapes(model) == asked
    counts = list(dict.fromkeys(seen))
    assert len(counts) == 3 and counts == sorted(counts)
    assert counts[0] < 0.5 * counts[-1]
    assert all(value.isfinite().all() for value in model.module.state_dict().values())


def _timm(images, make_model, name: str) -> Model:
    from shoestring.models.model import build

    return build(name, classes=images.classes, preprocessing=make_model(images).preprocessing)


def test_resolution_and_width_are_functions_of_the_fraction_spent(make_images, make_model, context, monkeypatch):
    monkeypatch.setattr(loop, "_REPORT_SECONDS", -1.0)
    images, told = make_images(side=16), []
    around = replace(context, on_progress=lambda step, fraction, values: told.append((fraction, values)))
    model = make_model(images, "convnet", width=0.25)
    schedule = compose("resolution,width", {"until": 0.55, "narrowest": 0.3})
    went = fit(model, images, _window(5), settings=SETTINGS, context=around, schedule=schedule)
    assert went.steps == 30
    assert [(values["side"], values["width"]) for _, values in told[:-1]] == [(12, 0.3)] * 17 + [(16, 1.0)] * 13


@pytest.mark.parametrize("name", ["convnet", "resnet20"])
@pytest.mark.parametrize("optimiser", ["muon", "sgd", "adamw"])
def test_weights_average_and_moments_go_on_through_a_growth(make_images, make_model, context, name, optimiser):
    images = make_images(side=16, channels=3)
    model = make_model(images, name, width=0.5)
    state = _begin(model, images, context, STAGES, optimiser)
    state.enter(STAGES(0.0))
    losses = [state.step(1.0).item() for _ in range(20)]
    pixels = torch.randn(8, 3, 16, 16)

    def outputs() -> list[torch.Tensor]:
        with torch.no_grad():
            return [one.module.eval()(pixels) for one in (model, state.usable())]

    def loss() -> float:
        with torch.no_grad():
            return nn.functional.cross_entropy(model.module.train()(pixels), torch.arange(8) % 3).item()

    before_loss, before, momentum = loss(), outputs(), _moments(state)
    work = state.growth.work
    state.enter(STAGES(1.0))
    for found, expected in zip(outputs(), before):
        assert difference(found, expected) < 1e-5
    assert loss() == pytest.approx(before_loss, rel=1e-3)
    assert work < state.growth.work == 1.0
    after = _moments(state)
    assert all(value.shape == parameter.shape for parameter, value in after)
    assert sum(float(value.abs().sum()) for _, value in after) > 0.3 * sum(float(m.abs().sum()) for _, m in momentum)
    model.module.train()
    later = [state.step(1.0).item() for _ in range(10)]
    assert max(later) < 1.5 * max(losses)


def _moments(state) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [
        (parameter, value.clone())
        for part in state.stepper.optimizer.parts
        for parameter, own in part.state.items()
        for key, value in own.items()
        if key in ("momentum_buffer", "exp_avg")
    ]


@pytest.mark.parametrize(("optimiser", "stop"), [("muon", 2), ("muon", 8), ("sgd", 8), ("adamw", 8), ("adamw", 17)])
def test_training_interrupted_in_any_stage_resumes_exactly(
    images, make_model, context, tmp_path, every_step, optimiser, stop
):
    settings = replace(SETTINGS, optimizer=optimiser)

    def run(context) -> dict[str, torch.Tensor]:
        model = make_model(images, "convnet", width=0.25)
        fit(model, images, _window(), settings=settings, context=context, schedule=STAGES)
        return _weights(model)

    expected = run(context)
    report, weights, notes = interrupt_and_resume(run, replace(context, folder=tmp_path), stop)
    assert report["width"] == {2: 0.5, 8: 0.7, 17: 1.0}[stop]
    assert notes[-1] == f"resuming after {stop - 1} steps"
    assert all(torch.equal(value, expected[name]) for name, value in weights.items())


def test_narrow_steps_cost_fewer_operations(images, make_model, context):
    from shoestring.evaluation.cost import count_macs

    model = make_model(images, "convnet", width=0.5)
    whole = 6.0 * count_macs(model) * 10
    budget = Budget(flops=20 * whole, steps=("train",))
    schedule = compose("width", {"until": 0.5})
    went = fit(model, images, budget.window("train"), settings=SETTINGS, context=context, schedule=schedule)
    assert went.steps > 35  # half of the operations at about a quarter of the price
    assert budget.spent == pytest.approx(20 * whole, rel=0.03)


class _Working(nn.Module):
    """A network whose passes take the time that its parameters ask for."""

    now = 1000.0

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if any(part.training for part in self.modules()):  # also where batch norms only look
            _Working.now += 1e-5 * sum(weight.numel() for weight in self.parameters())
        return self.inner(images)


@pytest.mark.parametrize("stages", ["0.5@1,1@1", "0.25@1:0.3,0.5@1:0.69,1@1"])
def test_a_growing_training_ends_at_its_deadline(images, make_model, context, monkeypatch, stages):
    monkeypatch.setattr(time, "monotonic", lambda: _Working.now)
    model = make_model(images, "convnet", width=0.25)
    model = replace(model, module=_Working(model.module))
    asked, step = _shapes(model), 1e-5 * sum(weight.numel() for weight in model.module.parameters())
    budget = Budget(time=300 * step, steps=("train",))
    settings = replace(SETTINGS, precision="float32")
    schedule = compose(Stages.parse(stages))
    summary = fit(model, images, budget.window("train"), settings=settings, context=context, schedule=schedule)
    assert 296 * step <= budget.spent <= 300 * step + 1e-6
    assert summary.steps > 350
    assert summary.final_learning_rate < 0.02
    assert _shapes(model) == asked


def test_patience_scores_the_whole_network_only(images, make_model, context):
    model = make_model(images, "convnet", width=0.25)
    asked, scored = _shapes(model), []

    def score(one: Model) -> float:
        scored.append(_shapes(one) == asked)
        return 0.0

    schedule = compose("width", {"until": 0.5})
    settings = replace(SETTINGS, patience=2)
    went = fit(model, images, _window(20), settings=settings, context=context, schedule=schedule, score=Score(score))
    assert went.ended == "patience"
    assert scored and all(scored)


def test_what_the_network_cannot_follow_is_told_before_training(make_images, make_model, context):
    images = make_images(side=16)
    stiff = replace(make_model(images), name="stiff", module=nn.Sequential(nn.Flatten(), nn.Linear(256, 3)))
    for schedule, message in (
        (compose("resolution"), r"stiff does not take images of 12 x 12 pixels .* Leave resolution out"),
        (compose(Stages.parse("1@0.5,1@1")), r"of 8 x 8 pixels"),
        (compose("width"), r"stiff cannot be widened: it has no channels that can be added later"),
        (compose("depth"), r"stiff has no residual blocks that can be skipped\. Leave depth out of --grow\."),
    ):
        with pytest.raises(UserError, match=message):
            fit(stiff, images, _window(), settings=SETTINGS, context=context, schedule=schedule)
    assert prepare_growth(make_model(images), compose("constant")) == (None, None)
