from __future__ import annotations

import pytest
import torch
from torch import nn

from networks import NETWORKS, difference, names, network
from shoestring.channels import Edit, equal_channels, merge, merge_proportional, operate, trace
from shoestring.channels.merging import first_members

EVERY = pytest.mark.parametrize(("name", "options"), NETWORKS, ids=names(NETWORKS))


@EVERY
def test_duplicated_channels_merge_without_a_trace(name, options):
    module, images = network(name, options), torch.randn(3, 3, 16, 16)
    table = trace(module, images)
    source = {
        group: torch.cat([torch.arange(own.size), torch.randint(own.size, (own.size,))]).sort().values
        for group, own in table.groups.items()
    }
    twice = operate(module, table, {group: Edit(own, _random_parts(own)) for group, own in source.items()})
    with torch.no_grad():
        assert difference(twice(images), module(images)) < 1e-5
        again = trace(twice, images, verify=False)
        clusters = {new: source[old] for new, old in zip(again.groups, source)}
        merged = merge(twice, again, clusters)
        assert difference(merged(images), module(images)) < 1e-5
    assert {n: p.shape for n, p in merged.named_parameters()} == {n: p.shape for n, p in module.named_parameters()}


def _random_parts(source: torch.Tensor):
    def read(axis, weight):
        parts = torch.rand(len(source)) + 0.1
        totals = torch.zeros(weight.shape[-1]).index_add(0, source, parts)
        return weight[..., source] * (parts / totals[source])

    return read


def _net(middle: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), middle, nn.Conv2d(6, 4, 3, padding=1), nn.Flatten())
    nn.init.uniform_(module[1].running_mean, -1, 1)
    nn.init.uniform_(module[1].weight, 0.5, 1.5)
    nn.init.uniform_(module[1].bias, -0.5, 0.5)
    return module.eval()


def _copy(module: nn.Sequential, of: int, to: int, factor: float = 1.0) -> None:
    """Make channel `to` the channel `of` times a factor."""
    with torch.no_grad():
        module[0].weight[to], module[0].bias[to] = module[0].weight[of], module[0].bias[of]
        for name in ("running_mean", "running_var"):
            getattr(module[1], name)[to] = getattr(module[1], name)[of]
        module[1].weight[to] = factor * module[1].weight[of]
        module[1].bias[to] = factor * module[1].bias[of]


def test_equal_channels_are_found_and_nothing_else():
    module, images = _net(nn.GELU()), torch.randn(2, 3, 8, 8)
    _copy(module, 1, 4)
    _copy(module, 1, 5)
    module[0].weight.data[3] = module[0].weight.data[2]  # the same filter, but another batch norm
    table = trace(module, images)
    found = equal_channels(module, table)
    assert found["0"].tolist() == [0, 1, 2, 3, 1, 1]
    merged = merge(module, table, found)
    assert merged[0].weight.shape[0] == 4
    assert difference(merged(images), module(images)) < 1e-5
    training = merged.train()(images)
    assert difference(training, module.train()(images)) < 1e-4


def test_nearly_equal_channels_need_a_tolerance():
    module = _net(nn.GELU())
    _copy(module, 0, 2)
    module[0].weight.data[2] += 1e-4
    table = trace(module, torch.zeros(1, 3, 8, 8))
    assert equal_channels(module, table)["0"].tolist() == [0, 1, 2, 3, 4, 5]
    assert equal_channels(module, table, tolerance=1e-2)["0"].tolist() == [0, 1, 0, 3, 4, 5]


@pytest.mark.parametrize(
    ("middle", "left"), [(nn.ReLU(), 4), (nn.LeakyReLU(), 4), (nn.MaxPool2d(2), 4), (nn.GELU(), 6), (nn.ReLU6(), 6)]
)
def test_multiples_merge_only_where_factors_pass_through(middle, left):
    module, images = _net(middle), torch.randn(2, 3, 9, 9)
    _copy(module, 0, 3, 2.5)
    _copy(module, 1, 4, 0.5)
    _copy(module, 2, 5, -1.0)  # a factor below zero does not pass through ReLU
    table = trace(module, images)
    merged = merge_proportional(module, table, images)
    assert merged[0].weight.shape[0] == left
    assert difference(merged(images), module(images)) < 1e-5


def test_channels_of_a_residual_stream_are_equal_only_if_all_that_makes_them_is():
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)

        def forward(self, images):
            maps = self.one(images)
            return self.last(maps + self.two(maps).relu())

    module, images = Residual(), torch.randn(2, 3, 4, 4)
    for layer in (module.one, module.two):
        layer.weight.data[2], layer.bias.data[2] = layer.weight.data[0], layer.bias.data[0]
    module.one.weight.data[3], module.one.bias.data[3] = module.one.weight.data[1], module.one.bias.data[1]
    table = trace(module, images)
    found = equal_channels(module, table)
    assert found["one"].tolist() == [0, 1, 0, 3]
    assert difference(merge(module, table, found)(images), module(images)) < 1e-5


def test_clusters_of_the_wrong_size_are_refused():
    module = _net(nn.ReLU())
    table = trace(module, torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match="group '0' has 6 channels"):
        merge(module, table, {"0": torch.zeros(5, dtype=torch.long)})


def test_first_members():
    assert first_members(torch.tensor([7, 7, 3, 9, 3])).tolist() == [0, 0, 2, 3, 2]


PROPORTIONAL_TRAPS = {
    "a batch norm behind the activation": lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3)
    ),
    "a norm over channels": lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.GroupNorm(1, 6, affine=False), nn.ReLU(), nn.Conv2d(6, 4, 3)
    ),
    "padding with ones": lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.ConstantPad2d(1, 1.0), nn.Conv2d(6, 4, 3)),
}


@pytest.mark.parametrize("make", PROPORTIONAL_TRAPS.values(), ids=PROPORTIONAL_TRAPS.keys())
def test_multiples_that_do_not_stay_multiples_are_left_alone(make):
    torch.manual_seed(0)
    module, images = make().eval(), torch.randn(2, 3, 8, 8)
    for layer in module:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -1, 1)
            nn.init.uniform_(layer.bias, -1, 1)
    with torch.no_grad():
        module[0].weight[4], module[0].bias[4] = 3 * module[0].weight[1], 3 * module[0].bias[1]
    merged = merge_proportional(module, trace(module, images), images)
    assert merged[0].weight.shape[0] == 6
    assert difference(merged(images), module(images)) < 1e-5
