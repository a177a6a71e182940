from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from networks import difference
from shoestring import data
from shoestring.budget import Budget
from shoestring.config.model_files import newest_snapshot
from shoestring.config.recipe import Grow, Train
from shoestring.config.stages import Stages
from shoestring.evaluation.cost import count_macs
from shoestring.execute import accuracy
from shoestring.growth.compose import compose
from shoestring.models.model import Model, build
from shoestring.training import loop
from shoestring.training.progress import TrainingState
from shoestring.training.snapshots import Snapshots
from trainings import fit, interrupt_and_resume, run_train
from trainings import prepare as begin

SETTINGS = Train(batch_size=10, label_smoothing=0.0)
STAGES = compose(Stages.parse("1@1@0.3,1@1@0.7,1@1"))
ALL_THREE = compose(Stages.parse("0.5@0.75@0.3,0.5@1@0.7,0.7@1@0.7,1@1"))
NETWORKS = [
    ("resnet20", {"width": 0.25}),
    ("timm:test_vit", {"img_size": 16, "patch_size": 4}),
    ("timm:mobilenetv3_small_050", {}),
]
EVERY = pytest.mark.parametrize(("name", "options"), NETWORKS, ids=[name for name, _ in NETWORKS])


@pytest.fixture
def make(make_images, make_model):
    """Makes images and a network for them."""

    def make(name: str, options: dict) -> tuple[data.Images, Model]:
        images = make_images(side=16, channels=3)
        torch.manual_seed(0)
        size = make_model(images).preprocessing
        return images, build(name, classes=images.classes, preprocessing=size, options=options)

    return make


def _window(epochs: float = 3.0):
    return Budget(epochs=epochs, steps=("train",)).window("train")


def _begin(images, model: Model, context, optimiser: str = "auto", schedule=STAGES) -> TrainingState:
    settings = replace(SETTINGS, optimizer=optimiser)
    return begin(model, images, _window(), settings=settings, context=context, schedule=schedule)


def _weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def _bypassed(module: nn.Module) -> list[str]:
    return [name for name, part in module.named_modules() if "forward" in vars(part)]


@pytest.mark.parametrize("schedule", [STAGES, ALL_THREE], ids=["depth", "all three"])
@EVERY
def test_training_ends_with_exactly_the_network_asked_for(make, context, monkeypatch, name, options, schedule):
    monkeypatch.setattr(loop, "_REPORT_SECONDS", -1.0)
    images, model = make(name, options)
    asked = {key: value.shape for key, value in model.module.state_dict().items()}
    macs, told = count_macs(model), []

    def on_progress(step: str, fraction: float, values: dict) -> None:
        told.append((values.get("depth", 1.0), len(_bypassed(model.module))))

    went = fit(
        model,
        images,
        _window(),
        settings=SETTINGS,
        context=replace(context, on_progress=on_progress),
        schedule=schedule,
    )
    assert went.steps == 18
    stages = list(dict.fromkeys(told))
    assert [depth for depth, _ in stages] == [0.3, 0.7, 1.0]
    assert stages[0][1] > stages[1][1] > stages[2][1] == 0
    assert {key: value.shape for key, value in model.module.state_dict().items()} == asked
    assert count_macs(model) == macs
    assert all(value.isfinite().all() for value in model.module.state_dict().values())


@pytest.mark.parametrize(
    ("name", "options", "optimiser"),
    [
        (*NETWORKS[0], "muon"),
        (*NETWORKS[0], "sgd"),
        (*NETWORKS[0], "adamw"),
        (*NETWORKS[1], "adamw"),
        (*NETWORKS[2], "sgd"),
    ],
)
def test_blocks_come_in_without_a_jump_and_learn_at_the_next_step(make, context, name, options, optimiser):
    images, model = make(name, options)
    state = _begin(images, model, context, optimiser)
    assert state.growth.blocks is not None
    out = tuple(f"{one}." for one in state.growth.blocks.skipped(0.3))
    before = _weights(model.module)
    for _ in range(10):
        state.step(1.0)
    after, pixels = _weights(model.module), torch.randn(8, 3, 16, 16)
    still = [key for key in after if torch.equal(after[key], before[key])]
    assert set(still) >= {key for key in after if key.startswith(out)}
    known = {id(weight) for part in state.stepper.optimizer.parts for weight in part.state}
    assert not any(id(w) in known for key, w in model.module.named_parameters() if key.startswith(out))

    @torch.no_grad()
    def outputs() -> list[Tensor]:
        again = copy.deepcopy(model.module)  # whose statistics may change
        return [one(pixels) for one in (model.module.eval(), state.usable().module.eval(), again.train())]

    expected, work = outputs(), state.growth.work
    state.enter(STAGES(1.0))
    assert all(difference(found, one) < 1e-6 for found, one in zip(outputs(), expected))
    assert work < state.growth.work == 1.0
    zeros = [weight for own in state.growth.blocks.zeros.values() for weight in own if weight.startswith(out)]
    model.module.train()
    state.step(1.0)
    named = dict(model.module.named_parameters())
    assert all(named[weight].any() for weight in zeros)
    for _ in range(5):
        assert state.step(1.0).isfinite()


@pytest.mark.parametrize(("optimiser", "stop"), [("muon", 2), ("muon", 12), ("sgd", 7), ("sgd", 17), ("adamw", 7)])
def test_training_interrupted_in_any_stage_resumes_exactly(make, context, tmp_path, every_step, optimiser, stop):
    settings = replace(SETTINGS, optimizer=optimiser)

    def run(context) -> dict[str, Tensor]:
        images, model = make("resnet20", {"width": 0.25})
        fit(model, images, _window(), settings=settings, context=context, schedule=ALL_THREE)
        return _weights(model.module)

    expected = run(context)
    report, weights, notes = interrupt_and_resume(run, replace(context, folder=tmp_path), stop)
    stages = {2: (0.5, 0.3), 7: (0.5, 0.7), 12: (0.7, 0.7), 17: (1.0, 1.0)}
    assert (report["width"], report.get("depth", 1.0)) == stages[stop]
    assert notes == [f"resuming after {stop - 1} steps"]
    assert all(torch.equal(value, expected[name]) for name, value in weights.items())


@EVERY
def test_a_snapshot_of_a_shallow_network_is_exact_in_the_whole_one(make, context, tmp_path, name, options):
    images, model = make(name, options)
    state = _begin(images, model, context, schedule=ALL_THREE)
    for _ in range(6):
        state.step(1.0)
    shipped, pixels = state.usable(), torch.randn(8, 3, 16, 16)
    Snapshots(tmp_path, 0.0).save(lambda: shipped)
    loaded = Model.load(newest_snapshot(tmp_path))
    assert _bypassed(shipped.module) and not _bypassed(loaded.module)
    with torch.no_grad():
        assert torch.equal(loaded.module.eval()(pixels), shipped.module.eval()(pixels))


def test_a_training_that_goes_astray_goes_back_to_a_shallower_network_too(make, context, monkeypatch):
    monkeypatch.setattr(loop, "_REPORT_SECONDS", -1.0)
    images, model = make("resnet20", {"width": 0.25})
    asked, steps, seen, notes = set(model.module.state_dict()), [0], [], []

    def spoil(module: nn.Module, inputs: object, output: Tensor) -> Tensor | None:
        steps[0] += module.training
        return output * torch.nan if module.training and steps[0] == 32 else None

    model.module.register_forward_hook(spoil)
    around = replace(
        context, log=notes.append, on_progress=lambda step, fraction, values: seen.append(values.get("depth"))
    )
    schedule = compose("depth", {"until": 0.5})
    fit(model, images, _window(10), settings=SETTINGS, context=around, schedule=schedule)
    assert notes == ["the loss is nan: back to step 28, with half the learning rate"]
    assert seen == [0.5] * 30 + [None] * 31  # what was lost stays spent, so it is deepened anew
    assert set(model.module.state_dict()) == asked and not _bypassed(model.module)


def test_going_back_leaves_blocks_out_again(make, context):
    images, model = make("resnet20", {"width": 0.25})
    state = _begin(images, model, context)
    packed, pixels = {**state.pack(), "module": _weights(model.module)}, torch.randn(4, 3, 16, 16)
    out = _bypassed(model.module)
    with torch.no_grad():
        expected = model.module.eval()(pixels)
        state.enter(STAGES(1.0))
        model.module.train()
        with torch.enable_grad():
            state.step(1.0)
        state.unpack(packed)
        assert _bypassed(model.module) == out
        assert state.growth.depth == 0.3 and state.growth.work < 1
        assert torch.equal(model.module.eval()(pixels), expected)


def test_shallow_steps_cost_fewer_operations(make, context):
    images, model = make("resnet20", {"width": 0.25})
    whole = 6.0 * count_macs(model) * 10
    budget = Budget(flops=20 * whole, steps=("train",))
    schedule = compose("depth", {"until": 0.5})
    went = fit(model, images, budget.window("train"), settings=SETTINGS, context=context, schedule=schedule)
    assert went.steps in (25, 26)  # half of the operations at two thirds of the price
    assert budget.spent == pytest.approx(20 * whole, rel=0.03)


def test_a_network_that_started_shallow_learns_the_digits(context):
    digits = data.load("digits")
    settings = Train(model="resnet20", width=0.5)
    budget = Budget(epochs=6, steps=("train",))
    model, _ = run_train(digits.train, settings, Grow("depth"), budget=budget, context=context)
    assert accuracy(model, digits.test) > 0.8
