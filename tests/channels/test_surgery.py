from __future__ import annotations

import pytest
import torch
from torch import nn

from networks import FOREIGN, LARGE, NETWORKS, difference, names, network, random_kept, traced
from shoestring.channels import Edit, apply_edits, drop, trace
from shoestring.channels.verify import zero_out

EVERY = pytest.mark.parametrize(("name", "options"), NETWORKS, ids=names(NETWORKS))


@pytest.mark.parametrize(("name", "options"), [*NETWORKS, *LARGE], ids=names([*NETWORKS, *LARGE]))
def test_dropping_equals_setting_to_zero(name, options):
    module, table = traced(name, options)
    images = torch.randn(3, 3, 16, 16)
    kept = random_kept(table, 0.4)
    smaller = drop(module, table, kept)
    with torch.no_grad():
        assert difference(smaller(images), zero_out(module, table, kept)(images)) < 1e-5
    assert sum(p.numel() for p in smaller.parameters()) < 0.4 * sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("name", "options"), FOREIGN, ids=names(FOREIGN))
def test_other_architectures_are_pruned_too(name, options):
    module, table = traced(name, options, side=32)
    images = torch.randn(2, 3, 32, 32)
    smaller = drop(module, table, random_kept(table, 0.5))
    assert smaller(images).shape == module(images).shape
    assert sum(p.numel() for p in smaller.parameters()) < 0.8 * sum(p.numel() for p in module.parameters())
    exact = {group: kept for group, kept in random_kept(table, 0.5).items() if table.groups[group].separable}
    with torch.no_grad():
        assert difference(drop(module, table, exact)(images), zero_out(module, table, exact)(images)) < 1e-5


@EVERY
def test_shapes_and_costs_match_the_table(name, options):
    module, table = traced(name, options)
    kept = random_kept(table, 0.6)
    smaller = drop(module, table, kept)
    named = dict(smaller.named_parameters()) | dict(smaller.named_buffers())
    assert {key: tuple(tensor.shape) for key, tensor in named.items()} == table.sizes(kept)
    retraced = trace(smaller, torch.zeros(1, 3, 16, 16), verify=False)
    assert retraced.params() == table.params(kept)
    assert retraced.macs() == table.macs(kept)
    for layer in smaller.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.shape[:2] == (layer.out_channels, layer.in_channels // layer.groups)
        if isinstance(layer, nn.Linear):
            assert layer.weight.shape == (layer.out_features, layer.in_features)


def test_the_requested_channels_are_kept():
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
    before, after = "layer2.0.conv2", "layer2.0.conv2#2"
    assert table.groups[before].size == table.groups[after].size == 8
    smaller = drop(module, table, {before: torch.tensor([3]), after: torch.tensor([0, 1])})
    padding = smaller.get_submodule("layer2.0.shortcut.1")
    assert (len(padding.before), len(padding.after)) == (1, 2)
    assert smaller.get_submodule("layer2.0.conv2").out_channels == 16 + 3


def test_every_group_keeps_at_least_one_channel():
    module = network("resnet20", {})
    table = trace(module, torch.zeros(1, 3, 16, 16))
    smallest = drop(module, table, {name: torch.tensor([0]) for name in table.groups})
    assert smallest(torch.randn(2, 3, 16, 16)).shape == (2, 5)
    assert all(group.size == 1 for group in trace(smallest, torch.zeros(1, 3, 16, 16)).groups.values())
    for kept in ([], [0, 0], [0, 16], [-1]):
        with pytest.raises(ValueError, match="group 'conv1' has 16 channels: keep at least one"):
            drop(module, table, {"conv1": torch.tensor(kept, dtype=torch.long)})
    with pytest.raises(ValueError, match="no group 'conv2'"):
        drop(module, table, {"conv2": torch.tensor([0])})
    with pytest.raises(ValueError, match="this table belongs to another network"):
        drop(smallest, table, {})


def test_gradients_requires_grad_and_training_mode_are_preserved():
    module = network("convnet", {"width": 0.25}).train()
    module(torch.randn(2, 3, 16, 16)).sum().backward()
    table = trace(module, torch.zeros(1, 3, 16, 16))
    smaller = drop(module, table, random_kept(table, 0.5))
    assert smaller.training
    assert all(p.grad is None or p.grad.shape == p.shape for p in smaller.parameters())
    assert [p.requires_grad for p in smaller.parameters()] == [p.requires_grad for p in module.parameters()]
    smaller(torch.randn(2, 3, 16, 16)).sum().backward()


def test_repeated_pruning():
    module, images = network("resnet20", {}), torch.randn(2, 3, 16, 16)
    for _ in range(3):
        table = trace(module, images)
        module = drop(module, table, random_kept(table, 0.5))
    assert module(images).shape == (2, 5)


def test_shared_layers_and_their_averages_remain_shared():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.one, self.other, self.last = (nn.Conv2d(*io, 1) for io in ((3, 4), (4, 4), (4, 4), (4, 2)))
            self.other.weight = self.one.weight

        def forward(self, images):
            return self.last(self.other(self.one(self.first(images))))

    module, images = Shared(), torch.randn(1, 3, 4, 4)
    average = {name: value.clone() for name, value in module.state_dict().items()}
    kept = {"first": torch.tensor([1, 3])}
    smaller = drop(module, trace(module, images), kept, averages=[average])
    assert smaller.one.weight is smaller.other.weight
    assert average["other.weight"].shape == average["one.weight"].shape == (2, 2, 1, 1)
    smaller.load_state_dict(average)


def test_sizes_in_a_list_are_updated_once():
    class Split(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last, self.parts = nn.Conv2d(3, 12, 1), nn.Conv2d(12, 2, 1), [8, 4]

        def forward(self, images):
            one, other = self.first(images).split(self.parts, 1)
            return self.last(torch.cat([other, one], 1))

    module, images = Split(), torch.randn(2, 3, 4, 4)
    table = trace(module, images)
    kept = {"first": torch.arange(0, 12, 2)}
    smaller = drop(module, table, kept)
    assert smaller.parts == [4, 2]
    assert difference(smaller(images), zero_out(module, table, kept)(images)) < 1e-5


def test_size_attributes_are_updated():
    import timm

    module = timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=8, embed_dim=32, depth=1, num_heads=4)
    images = torch.randn(2, 3, 16, 16)
    table = trace(module, images)
    smaller = drop(module, table, {"blocks.0.attn.qkv": torch.tensor([0, 2, 3])})
    attention = smaller.blocks[0].attn
    assert (attention.num_heads, attention.head_dim, attention.attn_dim, attention.scale) == (3, 8, 24, 8**-0.5)
    assert smaller.sizes_changed == {"blocks.0.attn.num_heads": 3, "blocks.0.attn.attn_dim": 24}
    assert not hasattr(module, "sizes_changed")
    assert (
        difference(smaller(images), zero_out(module, table, {"blocks.0.attn.qkv": torch.tensor([0, 2, 3])})(images))
        < 1e-5
    )


def test_consumers_are_multiplied_and_everything_else_is_indexed():
    """Brute force: h ~ A h_S for a convolution, its batch norm and a linear layer after flattening."""
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2)).eval()
    table = trace(module, torch.zeros(1, 3, 4, 4))
    matrix, source = torch.randn(4, 3), torch.tensor([0, 2, 2])
    changed = apply_edits(module, table, {"0": Edit(source, lambda axis, weight: weight @ matrix)})
    assert torch.equal(changed[0].weight, module[0].weight[source])
    assert torch.equal(changed[1].running_var, module[1].running_var[source])
    expected = torch.einsum("ocp,cs->osp", module[3].weight.view(2, 4, 4), matrix).flatten(1)
    assert torch.allclose(changed[3].weight, expected)
