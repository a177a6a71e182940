from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from shoestring.errors import UserError
from shoestring.recipe import Train
from shoestring.train.muon import Muon, orthogonalise
from shoestring.train.optimiser import Optimiser, make


@pytest.mark.parametrize("shape", [(16, 64), (64, 16), (48, 16), (8, 72)])
def test_orthogonalise_brings_singular_values_near_one(shape):
    torch.manual_seed(0)
    matrix = 100 * torch.randn(shape)
    found = orthogonalise(matrix)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.5 and values.max() < 1.3
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    assert nn.functional.cosine_similarity(found.flatten(), (left @ right).flatten(), 0) > 0.97


def test_a_step_of_muon_by_hand():
    torch.manual_seed(0)
    weight, gradient = torch.randn(4, 2, 3, 3), torch.randn(4, 2, 3, 3)
    parameter = nn.Parameter(weight.clone())
    muon = Muon([parameter], lr=0.1, momentum=0.6, weight_decay=0.5, fixed_norm=False)
    velocity, expected = torch.zeros_like(weight), weight.clone()
    for _ in range(2):
        parameter.grad = gradient.clone()
        muon.step()
        velocity = 0.6 * velocity + gradient
        step = orthogonalise((gradient + 0.6 * velocity).reshape(4, 18)).reshape(weight.shape)
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * step
    assert torch.allclose(parameter, expected, atol=1e-6)


def test_muon_keeps_the_norm_where_a_normalisation_follows():
    torch.manual_seed(0)
    parameter = nn.Parameter(5 * torch.randn(9, 2, 3, 3))
    muon = Muon([parameter], lr=0.0)
    parameter.grad = torch.randn_like(parameter)
    muon.step()
    assert parameter.norm().item() == pytest.approx(3.0)


def test_muon_lets_weights_grow_that_start_at_zero():
    torch.manual_seed(0)
    parameter = nn.Parameter(torch.zeros(9, 2, 3, 3))
    muon, norms = Muon([parameter], lr=0.01), []
    for _ in range(3):
        parameter.grad = torch.ones_like(parameter)
        muon.step()
        norms.append(parameter.norm().item())
    assert 0 < norms[0] < norms[1] < norms[2] < 0.1


def test_muon_takes_convolutions_that_lie_channels_last():
    torch.manual_seed(0)
    weight, gradient = torch.randn(4, 3, 3, 3), torch.randn(4, 3, 3, 3)
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        parameter = nn.Parameter(weight.clone().to(memory_format=layout))
        parameter.grad = gradient.clone().to(memory_format=layout)
        Muon([parameter], lr=0.1).step()
        found.append(parameter.detach())
    assert torch.allclose(found[0], found[1], atol=1e-6)


@given(st.sampled_from(["deadline", "anytime"]), st.floats(0, 0.5), st.floats(0, 1), st.floats(0, 1))
def test_the_factor_rises_and_then_falls_to_zero(schedule, warm_up, one, other):
    optimiser = Optimiser([], name="x", warm_up=warm_up, schedule=schedule)
    assert optimiser.factor(1.0) == 0.0
    assert optimiser.factor(warm_up) == 1.0
    low, high = sorted([one, other])
    if high <= warm_up:
        assert optimiser.factor(low) <= optimiser.factor(high)
    if low >= warm_up:
        assert optimiser.factor(low) >= optimiser.factor(high)
    assert 0 <= optimiser.factor(one) <= 1


def test_the_anytime_factor_stays_at_its_peak_for_four_fifths():
    optimiser = Optimiser([], name="x", warm_up=0.1, schedule="anytime")
    assert [optimiser.factor(spent) for spent in (0.05, 0.1, 0.5, 0.79)] == [0.5, 1, 1, 1]
    assert optimiser.factor(0.85) == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["muon", "sgd", "adamw"])
def test_every_weight_is_moved_by_one_part_and_rates_follow_the_factor(images, make_model, name):
    model = make_model(images, "convnet")
    optimiser = make(model, Train(optimiser=name), batch_size=32)
    held = [weight for part in optimiser.parts for group in part.param_groups for weight in group["params"]]
    trained = [weight for weight in model.module.parameters() if weight.requires_grad]
    assert len(held) == len(trained) == len({id(weight) for weight in held} & {id(weight) for weight in trained})
    model.module(torch.randn(4, 1, 8, 8)).sum().backward()
    before = [weight.detach().clone() for weight in trained]
    optimiser.step(0.5)
    rates = [group["lr"] for part in optimiser.parts for group in part.param_groups]
    assert rates == [peak / 2 for peaks in optimiser.peaks for peak in peaks]
    assert all(weight.grad is None for weight in trained)
    assert all(not torch.equal(old, new) for old, new in zip(before, trained))
    vectors = [g for part in optimiser.parts for g in part.param_groups if any(w.ndim == 1 for w in g["params"])]
    assert all(group["weight_decay"] == 0 for group in vectors)


def test_auto_goes_by_the_network(images, make_model):
    assert make(make_model(images, "convnet"), Train(), batch_size=32).name == "muon"
    assert make(make_model(images, "simplecnn"), Train(), batch_size=32).name == "sgd"


def test_the_users_rate_counts_and_scale_multiplies_it(images, make_model):
    model = make_model(images)
    settings = Train(optimiser="sgd", learning_rate=0.02, weight_decay=0.1)
    optimiser = make(model, settings, batch_size=1000, scale=0.5)
    assert optimiser.peaks == [[0.01, 0.01]]
    assert optimiser.parts[0].param_groups[0]["weight_decay"] == 0.1
    usual = [make(model, Train(optimiser="sgd"), batch_size=size).peaks[0][0] for size in (64, 128, 5000)]
    assert usual == pytest.approx([0.05, 0.1, 0.4])


def test_a_frozen_network_is_refused(images, make_model):
    model = make_model(images)
    model.module.requires_grad_(False)
    with pytest.raises(UserError, match="simplecnn has no weights to train"):
        make(model, Train(), batch_size=32)
