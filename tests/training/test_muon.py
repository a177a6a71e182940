from __future__ import annotations

import pytest
import torch
from torch import nn

from shoestring.training.optimizers.muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(16, 64), (64, 16), (48, 16), (8, 72)])
def test_orthogonalize_brings_singular_values_near_one(shape):
    torch.manual_seed(0)
    matrix = 100 * torch.randn(shape)
    found = orthogonalize(matrix)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.5 and values.max() < 1.3
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    assert nn.functional.cosine_similarity(found.flatten(), (left @ right).flatten(), 0) > 0.97


@pytest.mark.parametrize("shape", [(16, 64), (64, 16), (16, 32), (32, 32)])
def test_less_work_gives_the_same(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape) @ torch.diag(torch.logspace(0, -3, shape[1]))
    step_by_step = orthogonalize(matrix.double())
    assert torch.allclose(orthogonalize(matrix), step_by_step.float(), atol=1e-5)
    assert torch.allclose(orthogonalize(matrix, steps=0), matrix / matrix.norm(), atol=1e-6)


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
        step = orthogonalize((gradient + 0.6 * velocity).reshape(4, 18)).reshape(weight.shape)
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * step
    assert torch.allclose(parameter, expected, atol=1e-6)


def test_muon_keeps_the_norm_where_a_normalisation_follows():
    torch.manual_seed(0)
    weight, gradient = 5 * torch.randn(9, 2, 3, 3), torch.randn(9, 2, 3, 3)
    found = []
    for scale in (1.0, 3.0):
        parameter = nn.Parameter(scale * weight)
        muon = Muon([parameter], lr=0.2)
        for _ in range(3):
            parameter.grad = gradient / scale
            muon.step()
        assert torch.allclose(parameter.norm(), scale * weight.norm())
        found.append(parameter.detach() / scale)
    assert torch.allclose(found[0], found[1], atol=1e-5)  # the scale is meaningless
    assert nn.functional.cosine_similarity(found[0].flatten(), weight.flatten(), 0) < 0.95


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
