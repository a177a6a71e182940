from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from shoestring.config.plan import TrainPlan
from shoestring.config.recipe import Train
from shoestring.errors import UserError
from shoestring.models.model import build
from shoestring.models.preprocessing import Preprocessing
from shoestring.planning.optimizer import choose_optimizer, peak_rates
from shoestring.training.optimizer import CombinedOptimizer, make_optimizer, update_seconds


def make(model, settings: Train, *, batch_size: int, scale: float = 1.0) -> CombinedOptimizer:
    """The optimizer of these settings."""
    name = choose_optimizer(model, settings)
    rate, decay = peak_rates(model, settings, name, batch_size=batch_size)
    plan = TrainPlan(batch_size, "float32", name, scale * rate, decay, schedule=settings.schedule)
    return make_optimizer(model, plan)


@given(st.sampled_from(["deadline", "anytime"]), st.floats(0, 0.5), st.floats(0, 1), st.floats(0, 1))
def test_the_factor_rises_and_then_falls_to_zero(schedule, warm_up, one, other):
    optimiser = CombinedOptimizer([], name="x", warm_up=warm_up, schedule=schedule)
    assert optimiser.factor(1.0) == 0.0
    assert optimiser.factor(warm_up) == 1.0
    low, high = sorted([one, other])
    if high <= warm_up:
        assert optimiser.factor(low) <= optimiser.factor(high)
    if low >= warm_up:
        assert optimiser.factor(low) >= optimiser.factor(high)
    assert 0 <= optimiser.factor(one) <= 1


def test_the_anytime_factor_falls_with_a_power_and_in_the_last_fifth_to_zero():
    optimiser = CombinedOptimizer([], name="x", warm_up=0.1, schedule="anytime")
    assert [optimiser.factor(spent) for spent in (0.05, 0.1)] == [0.5, 1]
    assert optimiser.factor(0.4) == pytest.approx(0.25**0.75)
    assert optimiser.factor(0.8) == pytest.approx(0.125**0.75)
    assert optimiser.factor(0.85) == pytest.approx(0.5 * (0.1 / 0.85) ** 0.75)


@pytest.mark.parametrize("name", ["muon", "sgd", "adamw"])
def test_every_weight_is_moved_by_one_part_and_rates_follow_the_factor(images, make_model, name):
    model = make_model(images, "convnet")
    optimiser = make(model, Train(optimizer=name), batch_size=32)
    held = [weight for part in optimiser.parts for group in part.param_groups for weight in group["params"]]
    trained = [weight for weight in model.module.parameters() if weight.requires_grad]
    assert len(held) == len(trained) == len({id(weight) for weight in held} & {id(weight) for weight in trained})
    model.module(torch.randn(4, 1, 8, 8)).sum().backward()
    before = [weight.detach().clone() for weight in trained]
    gradients = [weight.grad.clone() for weight in trained]
    moved = []
    for factor in (0.5, 1.0):
        optimiser = make(model, Train(optimizer=name, weight_decay=0), batch_size=32)
        with torch.no_grad():
            for weight, old, gradient in zip(trained, before, gradients):
                weight.copy_(old)
                weight.grad = gradient.clone()
        optimiser.step(factor)
        assert all(weight.grad is None for weight in trained)
        moved.append([new.detach() - old for old, new in zip(before, trained)])
    assert all(half.any() for half in moved[0])
    assert all((2 * half - whole).norm() < 0.1 * whole.norm() for half, whole in zip(*moved))
    vectors = [g for part in optimiser.parts for g in part.param_groups if any(w.ndim == 1 for w in g["params"])]
    assert all(group["weight_decay"] == 0 for group in vectors)


@pytest.mark.parametrize(
    ("network", "options", "name"),
    [
        ("convnet", {}, "muon"),
        ("convnet", {"norm": False}, "muon"),
        ("resnet20", {"width": 0.25}, "muon"),
        ("simplecnn", {}, "muon"),
        ("simplecnn", {"norm": True}, "muon"),
        ("vgg16", {"norm": False}, "muon"),
        ("timm:test_efficientnet", {}, "muon"),
        ("timm:test_vit", {}, "adamw"),
    ],
)
def test_auto_goes_by_the_network(network, options, name):
    size = Preprocessing(160, 3, (0.5,) * 3, (0.5,) * 3)
    model = build(network, classes=("a", "b"), preprocessing=size, options=options)
    assert make(model, Train(), batch_size=32).name == name
    trained = Train(weights="some.safetensors")
    assert make(model, trained, batch_size=32).name == ("adamw" if name == "adamw" else "sgd")
    assert make(model, Train(optimizer="sgd"), batch_size=32).name == "sgd"


def test_muon_moves_what_mixes_its_inputs_and_a_norm_follows(images, make_model):
    layers = {
        "mixing": nn.Conv2d(1, 8, 3, bias=False),
        "norm": nn.BatchNorm2d(8),
        "depthwise": nn.Conv2d(8, 8, 3, groups=8, bias=False),
        "squeeze": nn.Conv2d(8, 8, 1),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "hidden": nn.Linear(8, 8, bias=False),
        "head": nn.Linear(8, 10, bias=False),
    }
    model = replace(make_model(images), module=nn.Sequential(OrderedDict(layers)))

    def moved() -> list[str]:
        muon = make(model, Train(optimizer="muon"), batch_size=32).parts[0]
        held = {id(weight) for group in muon.param_groups for weight in group["params"]}
        return [name.partition(".")[0] for name, weight in model.module.named_parameters() if id(weight) in held]

    assert moved() == ["mixing", "hidden"]
    model.module.norm = nn.Identity()
    assert moved() == ["mixing", "squeeze", "hidden"]


def test_muon_is_for_networks_that_it_moves_most_of(images, make_model):
    def name(*, bias: bool, hidden: int) -> str:
        layers = [nn.Conv2d(1, 8, 3, bias=bias), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, hidden, bias=False)]
        module = nn.Sequential(*layers, nn.Linear(hidden, 3))
        return make(replace(make_model(images), module=module), Train(), batch_size=32).name

    assert name(bias=False, hidden=8) == "muon"
    assert name(bias=True, hidden=1) == "sgd"


def test_fresh_networks_without_norms_that_muon_hardly_moves_get_adamw(images, make_model):
    module = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.Linear(1152, 1100), nn.Linear(1100, 3))
    model = replace(make_model(images), module=module)
    assert make(model, Train(), batch_size=32).name == "adamw"
    assert make(model, Train(weights="some.safetensors"), batch_size=32).name == "sgd"


def test_only_muon_takes_long_for_few_images(images, make_model):
    model = make_model(images, "convnet")
    assert update_seconds(model, "sgd") == 0
    assert 0 < update_seconds(model, "muon") < 1


def _peaks(optimizer: CombinedOptimizer) -> list[float]:
    return [group["lr"] for part in optimizer.parts for group in part.param_groups]


def test_the_users_rate_counts_and_scale_multiplies_it(images, make_model):
    model = make_model(images)
    settings = Train(optimizer="sgd", learning_rate=0.02, weight_decay=0.1)
    optimizer = make(model, settings, batch_size=1000, scale=0.5)
    assert _peaks(optimizer) == [0.01, 0.01]
    assert optimizer.parts[0].param_groups[0]["weight_decay"] == 0.1
    for norm, expected in [(True, [0.05, 0.1, 0.4]), (False, [0.01, 0.02, 0.08])]:
        model = make_model(images, norm=norm)
        usual = [_peaks(make(model, Train(optimizer="sgd"), batch_size=size))[0] for size in (64, 128, 5000)]
        assert usual == pytest.approx(expected)


def test_a_frozen_network_is_refused(images, make_model):
    model = make_model(images)
    model.module.requires_grad_(False)
    with pytest.raises(UserError, match="simplecnn has no weights to train"):
        make(model, Train(), batch_size=32)


def test_deep_networks_without_norms_are_trained_more_slowly_by_muon(images, make_model):
    rates = {}
    for name, norm in [("simplecnn", False), ("vgg8", False), ("vgg16", False), ("vgg16", True)]:
        model = make_model(images, name, norm=norm)
        rates[name, norm] = _peaks(make(model, Train(optimizer="muon"), batch_size=32))[0]
        asked = make(model, Train(optimizer="muon", learning_rate=0.1), batch_size=32)
        assert _peaks(asked)[0] == 0.1
    assert list(rates.values()) == pytest.approx([0.2, 0.2 * 3 / 5, 0.2 * 3 / 13, 0.2])


def test_small_batches_move_networks_without_norms_less(images, make_model):
    for norm, expected in [(False, [0.2 / 32, 0.1, 0.2]), (True, [0.2] * 3)]:
        model = make_model(images, norm=norm)
        found = [_peaks(make(model, Train(optimizer="muon"), batch_size=size))[0] for size in (1, 16, 64)]
        assert found == pytest.approx(expected)


def test_operations_of_muon_are_counted_from_the_shapes_of_its_matrices(images, make_model):
    from shoestring.training.optimizer import update_flops

    model = make_model(images, "resnet20")
    found = update_flops(model, "muon")
    assert found > 0
    assert update_flops(make_model(images, "resnet20", width=0.25), "muon") > 4 * found
    assert update_flops(model, "sgd") == 0
