from __future__ import annotations

import pytest
import torch
from torch import nn

from networks import FOREIGN, NETWORKS, cut, difference, names, network
from shoestring.channels import drop, operate, trace
from shoestring.channels.surgery import Edit
from shoestring.channels.verify import silence

EVERY = pytest.mark.parametrize(("name", "options"), NETWORKS, ids=names(NETWORKS))


@EVERY
def test_dropping_silent_channels_changes_no_output(name, options):
    module = network(name, options)
    images = torch.randn(3, 3, 16, 16)
    table = trace(module, images)
    kept = cut(table, 0.4)
    smaller = drop(module, table, kept)
    with torch.no_grad():
        assert difference(smaller(images), silence(module, table, kept)(images)) < 1e-5
    assert sum(p.numel() for p in smaller.parameters()) < 0.4 * sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("name", "options"), FOREIGN, ids=names(FOREIGN))
def test_networks_of_other_kinds_are_cut_too(name, options):
    module = network(name, options, side=32)
    images = torch.randn(2, 3, 32, 32)
    table = trace(module, images)
    smaller = drop(module, table, cut(table, 0.5))
    assert smaller(images).shape == module(images).shape
    assert sum(p.numel() for p in smaller.parameters()) < 0.8 * sum(p.numel() for p in module.parameters())
    exact = {group: kept for group, kept in cut(table, 0.5).items() if table.groups[group].separable}
    with torch.no_grad():
        assert difference(drop(module, table, exact)(images), silence(module, table, exact)(images)) < 1e-5


@EVERY
def test_shapes_and_costs_are_those_of_the_table(name, options):
    module = network(name, options)
    table = trace(module, torch.zeros(1, 3, 16, 16))
    kept = cut(table, 0.6)
    smaller = drop(module, table, kept)
    named = dict(smaller.named_parameters()) | dict(smaller.named_buffers())
    assert {key: tuple(tensor.shape) for key, tensor in named.items()} == table.sizes(kept)
    again = trace(smaller, torch.zeros(1, 3, 16, 16), verify=False)
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
    before, after = "layer2.0.conv2", "layer2.0.conv2#2"
    assert table.groups[before].size == table.groups[after].size == 8
    smaller = drop(module, table, {before: torch.tensor([3]), after: torch.tensor([0, 1])})
    padding = smaller.get_submodule("layer2.0.shortcut.1")
    assert (len(padding.before), len(padding.after)) == (1, 2)
    assert smaller.get_submodule("layer2.0.conv2").out_channels == 16 + 3


def test_one_channel_is_enough_and_can_be_cut_no_further():
    module = network("resnet20", {})
    table = trace(module, torch.zeros(1, 3, 16, 16))
    least = drop(module, table, {name: torch.tensor([0]) for name in table.groups})
    assert least(torch.randn(2, 3, 16, 16)).shape == (2, 5)
    assert all(group.size == 1 for group in trace(least, torch.zeros(1, 3, 16, 16)).groups.values())
    for kept in ([], [0, 0], [0, 16], [-1]):
        with pytest.raises(ValueError, match="of the 16 channels of group 'conv1' some must stay"):
            drop(module, table, {"conv1": torch.tensor(kept, dtype=torch.long)})
    with pytest.raises(ValueError, match="no group 'conv2'"):
        drop(module, table, {"conv2": torch.tensor([0])})
    with pytest.raises(ValueError, match="this table is of another network"):
        drop(least, table, {})


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


def test_surgery_in_place_takes_the_optimiser_and_averages_along():
    module, images = network("resnet20", {"width": 0.5}).train(), torch.randn(4, 3, 16, 16)
    table = trace(module, images)
    optimiser = torch.optim.Adam(module.parameters())
    module(images).square().sum().backward()
    optimiser.step()
    before = {name: optimiser.state[p]["exp_avg"].clone() for name, p in module.named_parameters()}
    average = {name: value.clone() for name, value in module.state_dict().items()}
    kept = cut(table, 0.5)
    assert drop(module, table, kept, inplace=True, optimisers=[optimiser], averages=[average]) is module
    chosen = table.selection(kept)
    for name, parameter in module.named_parameters():
        expected = before[name]
        for dim in range(expected.ndim):
            if (name, dim) in chosen:
                expected = expected.index_select(dim, chosen[name, dim])
        assert torch.equal(optimiser.state[parameter]["exp_avg"], expected)
        assert torch.equal(average[name], parameter)
    module(images).square().sum().backward()
    optimiser.step()


MAKERS = {
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p),
    "rmsprop": lambda p: torch.optim.RMSprop(p),
    "adagrad": lambda p: torch.optim.Adagrad(p),
    "adamax": lambda p: torch.optim.Adamax(p),
    "rprop": lambda p: torch.optim.Rprop(p),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_moments_are_those_of_the_gradients_to_come(make):
    """A channel read by halves gets half of the gradient, what reads it all of it."""
    module, images = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 3, 1)), torch.randn(2, 3, 4, 4)
    table, optimiser = trace(module, images), make(module.parameters())
    module(images).square().sum().backward()
    optimiser.step()
    key = next(key for key, value in optimiser.state[module[0].weight].items() if value.ndim == 4)
    before = {i: optimiser.state[module[i].weight][key].clone() for i in (0, 1)}
    source = torch.tensor([0, 0, 1])
    halves = Edit(source, lambda axis, w: w[..., source] * torch.tensor([0.5, 0.5, 1.0]), torch.tensor([0.5, 0.5, 1]))
    operate(module, table, {"0": halves}, inplace=True, optimisers=[optimiser])
    power = 2 if key in ("exp_avg_sq", "square_avg", "sum") else 1
    scale = torch.tensor([0.5, 0.5, 1.0])[:, None, None, None] ** power
    assert torch.allclose(optimiser.state[module[0].weight][key], before[0][source] * scale)
    assert torch.allclose(optimiser.state[module[1].weight][key], before[1][:, source])
    optimiser.zero_grad()
    module(images).square().sum().backward()
    optimiser.step()


@pytest.mark.parametrize("kind", [torch.optim.Adafactor, torch.optim.LBFGS])
def test_an_optimiser_whose_state_cannot_follow_is_refused_before_anything_changes(kind):
    module, images = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(64, 3)), torch.randn(2, 3, 4, 4)
    table, optimiser = trace(module, images), kind(module.parameters())

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = module(images).square().mean()
        value.backward()
        return value

    optimiser.step(loss)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    average = {name: tensor.clone() for name, tensor in before.items()}
    more = {"inplace": True, "optimisers": [optimiser], "averages": [average]}
    with pytest.raises(ValueError, match=f"state of {kind.__name__} cannot follow channels"):
        drop(module, table, {"0": torch.arange(2)}, **more)
    for tensors in (module.state_dict(), average):
        assert all(torch.equal(tensor, before[name]) for name, tensor in tensors.items())
    optimiser.step(loss)


def test_a_copy_cannot_take_the_optimiser_along():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))
    table = trace(module, torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match="inplace"):
        drop(module, table, {}, optimisers=[torch.optim.SGD(module.parameters(), 0.1)])


def test_shared_layers_and_their_averages_stay_shared():
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


def test_sizes_that_follow_each_other_are_replaced_once():
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
    assert difference(smaller(images), silence(module, table, kept)(images)) < 1e-5


def test_sizes_in_the_code_of_modules_follow():
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
        difference(smaller(images), silence(module, table, {"blocks.0.attn.qkv": torch.tensor([0, 2, 3])})(images))
        < 1e-5
    )


def test_readers_are_multiplied_and_everything_else_is_indexed():
    """Brute force: h ~ A h_S for a convolution, its batch norm and a linear layer behind flattened maps."""
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2)).eval()
    table = trace(module, torch.zeros(1, 3, 4, 4))
    matrix, source = torch.randn(4, 3), torch.tensor([0, 2, 2])
    changed = operate(module, table, {"0": Edit(source, lambda axis, weight: weight @ matrix)})
    assert torch.equal(changed[0].weight, module[0].weight[source])
    assert torch.equal(changed[1].running_var, module[1].running_var[source])
    expected = torch.einsum("ocp,cs->osp", module[3].weight.view(2, 4, 4), matrix).flatten(1)
    assert torch.allclose(changed[3].weight, expected)
