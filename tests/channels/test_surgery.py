from __future__ import annotations

import pytest
import torch
from torch import nn

from shoestring.channels import Table, drop, trace
from shoestring.models import Preprocessing, build

NETWORKS = [
    ("convnet", {"width": 0.25}),
    ("convnet", {"width": 0.25, "norm": False}),
    ("resnet20", {"shortcut": "A"}),
    ("resnet20", {"shortcut": "B"}),
    ("resnet56", {"width": 0.5}),
    ("resnet18", {"width": 0.125}),
    ("vgg8", {"width": 0.125}),
    ("vgg16", {"width": 0.125, "norm": False}),
    ("simplecnn", {"width": 0.5}),
    ("timm:resnet18", {}),
    ("timm:mobilenetv3_small_050", {}),
]
EVERY = pytest.mark.parametrize(("name", "options"), NETWORKS, ids=[f"{n} {o}" for n, o in NETWORKS])


def network(name: str, options: dict) -> nn.Module:
    """A network whose batch norms hold statistics and weights that matter."""
    torch.manual_seed(0)
    size = Preprocessing(16, 3, (0.0,) * 3, (1.0,) * 3)
    module = build(name, classes=list("abcde"), preprocessing=size, options=options).module
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.2, 0.2)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.2, 0.2)
    return module.eval()


def cut(table: Table, share: float) -> dict[str, torch.Tensor]:
    """Random channels of every group, at least one."""
    return {
        name: torch.randperm(group.size)[: max(1, int(group.size * share))].sort().values
        for name, group in table.groups.items()
    }


def silence(module: nn.Module, table: Table, kept: dict[str, torch.Tensor]) -> None:
    """Set to zero what makes the channels that are not kept."""
    gone = torch.ones(table.size + 1, dtype=torch.bool)
    gone[-1] = False
    for name, indices in kept.items():
        gone[table.groups[name].start + indices] = False
    parameters = dict(module.named_parameters())
    with torch.no_grad():
        for (name, dim), numbers in table.axes.items():
            if dim == 0 and name in parameters:
                parameters[name][gone[numbers]] = 0


@EVERY
def test_dropping_silent_channels_changes_no_output(name, options):
    module = network(name, options)
    images = torch.randn(3, 3, 16, 16)
    table = trace(module, images)
    kept = cut(table, 0.4)
    silence(module, table, kept)
    smaller = drop(module, table, kept)
    with torch.no_grad():
        before, after = module(images), smaller(images)
    assert torch.allclose(after, before, rtol=1e-5, atol=1e-5 * before.abs().max().item())
    assert sum(p.numel() for p in smaller.parameters()) < 0.4 * sum(p.numel() for p in module.parameters())


@EVERY
def test_shapes_and_costs_are_those_of_the_table(name, options):
    module = network(name, options)
    table = trace(module, torch.zeros(1, 3, 16, 16))
    kept = cut(table, 0.6)
    smaller = drop(module, table, kept)
    named = dict(smaller.named_parameters()) | dict(smaller.named_buffers())
    assert {key: tuple(tensor.shape) for key, tensor in named.items()} == table.sizes(kept)
    again = trace(smaller, torch.zeros(1, 3, 16, 16))
    assert again.params() == table.params(kept)
    assert again.macs() == table.macs(kept)
    for layer in smaller.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.shape[:2] == (layer.out_channels, layer.in_channels // layer.groups)
        if isinstance(layer, nn.Linear):
            assert layer.weight.shape == (layer.out_features, layer.in_features)


def test_rows_that_stay_are_the_ones_named():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    table = trace(module, torch.zeros(1, 3, 4, 4))
    smaller = drop(module, table, {"0": torch.tensor([1, 3])})
    assert torch.equal(smaller[0].weight, module[0].weight[[1, 3]])
    assert torch.equal(smaller[1].bias, module[1].bias[[1, 3]])
    assert torch.equal(smaller[3].weight, module[3].weight[:, [4, 5, 6, 7, 12, 13, 14, 15]])
    assert module[0].weight.shape == (4, 3, 3, 3)
    assert smaller[1].num_features == 2


def test_padding_shrinks_with_its_channels():
    module = network("resnet20", {})
    table = trace(module, torch.zeros(1, 3, 16, 16))
    smaller = drop(module, table, {"layer2.0.conv2": torch.tensor([3, 8, 9])})
    padding = smaller.get_submodule("layer2.0.shortcut.1")
    assert (len(padding.before), len(padding.after)) == (1, 2)
    assert smaller.get_submodule("layer2.0.conv2").out_channels == 16 + 3


def test_one_channel_is_enough_and_can_be_cut_no_further():
    module = network("resnet20", {})
    table = trace(module, torch.zeros(1, 3, 16, 16))
    least = drop(module, table, {name: torch.tensor([0]) for name in table.groups})
    assert least(torch.randn(2, 3, 16, 16)).shape == (2, 5)
    assert all(group.size == 1 for group in trace(least, torch.zeros(1, 3, 16, 16)).groups.values())
    with pytest.raises(AssertionError):
        table.selection({"conv1": torch.tensor([], dtype=torch.long)})


def test_gradients_frozen_weights_and_training_survive():
    module = network("convnet", {"width": 0.25}).train()
    module(torch.randn(2, 3, 16, 16)).sum().backward()
    table = trace(module, torch.zeros(1, 3, 16, 16))
    smaller = drop(module, table, cut(table, 0.5))
    assert smaller.training
    assert all(p.grad is None or p.grad.shape == p.shape for p in smaller.parameters())
    assert [p.requires_grad for p in smaller.parameters()] == [p.requires_grad for p in module.parameters()]
    smaller(torch.randn(2, 3, 16, 16)).sum().backward()


def test_a_network_cut_twice_still_runs():
    module, images = network("resnet20", {}), torch.randn(2, 3, 16, 16)
    for _ in range(3):
        table = trace(module, images)
        module = drop(module, table, cut(table, 0.5))
    assert module(images).shape == (2, 5)
