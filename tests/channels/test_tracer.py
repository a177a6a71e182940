from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shoestring.channels import drop, trace
from shoestring.models.architectures.resnet import resnet20

IMAGE = torch.zeros(1, 3, 8, 8)


def test_layers_that_compute_their_weight_are_opaque():
    class Standardized(nn.Conv2d):
        def forward(self, maps):
            weight = (self.weight - self.weight.mean((1, 2, 3), keepdim=True)) / self.weight.flatten(1).std(1)[
                :, None, None, None
            ]
            return F.conv2d(maps, weight, self.bias, self.stride, self.padding)

    table = trace(nn.Sequential(Standardized(3, 4, 1), nn.ReLU(), Standardized(4, 5, 1), nn.Conv2d(5, 2, 1)), IMAGE)
    assert {name: (group.size, group.separable) for name, group in table.groups.items()} == {
        "0": (4, False),  # consumed by a layer that normalizes its weights
        "2": (5, True),
    }


def test_shared_and_repeated_layers_have_the_same_channels():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.twice, self.other = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
            self.other.weight = self.twice.weight
            self.last = nn.Conv2d(4, 2, 1)

        def forward(self, images):
            return self.last(self.other(self.twice(self.twice(self.first(images)))))

    module = Shared()
    table = trace(module, IMAGE)
    assert {name: group.size for name, group in table.groups.items()} == {"first": 4}
    smaller = drop(module, table, {"first": torch.tensor([1, 3])})
    assert smaller.other.weight is smaller.twice.weight
    assert smaller(IMAGE).shape == (1, 2, 8, 8)


def test_parametrized_layers_are_frozen():
    layer = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 1))
    table = trace(nn.Sequential(layer, nn.Conv2d(4, 5, 1), nn.Conv2d(5, 2, 1)), IMAGE)
    assert {name: group.size for name, group in table.groups.items()} == {"1": 5}


@pytest.mark.filterwarnings("ignore::UserWarning")  # quantized tensors are deprecated
def test_quantized_layers_cannot_be_traced():
    quantized = torch.ao.nn.quantized.dynamic.Linear(4, 4)
    table = trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), quantized), IMAGE)
    assert not table.groups
    assert table.notes


class Picky(nn.Module):
    """Accepts only plain tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 1)

    def forward(self, images):
        if type(images) is not torch.Tensor:
            raise RuntimeError("plain tensors only")
        return self.layer(images)


def test_a_module_that_cannot_be_traced_is_not_pruned():
    table = trace(Picky(), IMAGE)
    assert not table.groups
    assert "plain tensors only" in str(table)


def test_tracing_changes_nothing():
    module = resnet20(10).train()
    module.bn1.eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    trace(module, torch.rand(2, 3, 8, 8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert module.training
    assert not module.bn1.training
    assert all(type(p) is nn.Parameter for p in module.parameters())


def test_activations_that_a_module_stores_are_not_labeled():
    class Stores(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.last, self.stored = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1), []

        def forward(self, images):
            self.stored.append(self.layer(images))
            return self.last(self.stored[-1])

    module = Stores()
    assert trace(module, IMAGE).groups
    assert module.stored == []


def test_fixed_filters_with_a_fixed_number_of_groups_freeze_channels():
    class Blur(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("filters", torch.ones(4, 1, 3, 3))

        def forward(self, maps):
            return F.conv2d(maps, self.filters, groups=4)

    assert not trace(nn.Sequential(nn.Conv2d(3, 4, 1), Blur(), nn.Conv2d(4, 2, 1)), IMAGE).groups


def test_costs_of_networks_that_cannot_be_pruned():
    table = trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(256, 9), nn.Softsign()), IMAGE)
    assert table.macs() == 64 * 12 + 256 * 9
    whole = trace(Picky(), IMAGE)
    assert (whole.groups, whole.macs()) == ({}, 64 * 12)
