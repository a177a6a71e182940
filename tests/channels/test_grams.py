from __future__ import annotations

import torch
from torch import nn

from shoestring.channels import trace
from shoestring.channels.grams import input_grams


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 2)
    ).eval()


def test_second_moments_are_those_of_the_inputs_of_the_consuming_layers():
    network, images = _network(), torch.randn(5, 3, 4, 4)
    table = trace(network, images)
    grams = input_grams(network, table, [images[:2], images[2:]])
    maps = network[:2](images).detach().movedim(1, -1).reshape(-1, 4).double()
    assert torch.allclose(grams[("2.weight", 1), "0"], maps.T @ maps)
    flat = network[:4](images).detach().movedim(1, -1).reshape(-1, 6).double()  # 16 entries of the linear layer each
    assert torch.allclose(grams[("5.weight", 1), "2"], flat.T @ flat)


def test_only_the_named_groups_are_included():
    network, images = _network(), torch.randn(5, 3, 4, 4)
    assert [name for _, name in input_grams(network, trace(network, images), [images], groups=["2"])] == ["2"]
