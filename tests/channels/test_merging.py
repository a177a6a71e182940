from __future__ import annotations

import pytest
import torch
from torch import nn

from networks import NETWORKS, Residual, difference, names, traced
from shoestring.channels import Edit, apply_edits, equal_channels, merge, merge_proportional, trace
from shoestring.channels.merging import first_members

EVERY = pytest.mark.parametrize(("name", "options"), NETWORKS, ids=names(NETWORKS))


@EVERY
def test_duplicated_channels_merge_exactly(name, options):
    (module, table), images = traced(name, options), torch.randn(3, 3, 16, 16)
    source = {
        group: torch.cat([torch.arange(own.size), torch.randint(own.size, (own.size,))]).sort().values
        for group, own in table.groups.items()
    }
    duplicated = apply_edits(module, table, {group: Edit(own, _random_split(own)) for group, own in source.items()})
    with torch.no_grad():
        assert difference(duplicated(images), module(images)) < 1e-5
        again = trace(duplicated, images, verify=False)
        clusters = {new: source[old] for new, old in zip(again.groups, source)}
        merged = merge(duplicated, again, clusters)
        assert difference(merged(images), module(images)) < 1e-5
    assert {n: p.shape for n, p in merged.named_parameters()} == {n: p.shape for n, p in module.named_parameters()}


def _random_split(source: torch.Tensor):
    def transform(axis, weight):
        parts = torch.rand(len(source)) + 0.1
        totals = torch.zeros(weight.shape[-1]).index_add(0, source, parts)
        return weight[..., source] * (parts / totals[source])

    return transform


def _network(middle: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), middle, nn.Conv2d(6, 4, 3, padding=1), nn.Flatten())
    nn.init.uniform_(module[1].running_mean, -1, 1)
    nn.init.uniform_(module[1].weight, 0.5, 1.5)
    nn.init.uniform_(module[1].bias, -0.5, 0.5)
    return module.eval()


def _copy(module: nn.Sequential, source: int, target: int, factor: float = 1.0) -> None:
    """Make channel `target` a multiple of channel `source`."""
    with torch.no_grad():
        module[0].weight[target], module[0].bias[target] = module[0].weight[source], module[0].bias[source]
        for name in ("running_mean", "running_var"):
            getattr(module[1], name)[target] = getattr(module[1], name)[source]
        module[1].weight[target] = factor * module[1].weight[source]
        module[1].bias[target] = factor * module[1].bias[source]


def test_only_equal_channels_are_clustered():
    module, images = _network(nn.GELU()), torch.randn(2, 3, 8, 8)
    _copy(module, 1, 4)
    _copy(module, 1, 5)
    module[0].weight.data[3] = module[0].weight.data[2]  # the same filter, but a different batch norm
    table = trace(module, images)
    clusters = equal_channels(module, table)
    assert clusters["0"].tolist() == [0, 1, 2, 3, 1, 1]
    merged = merge(module, table, clusters)
    assert merged[0].weight.shape[0] == 4
    assert difference(merged(images), module(images)) < 1e-5
    training = merged.train()(images)
    assert difference(training, module.train()(images)) < 1e-4


def test_nearly_equal_channels_need_a_tolerance():
    module = _network(nn.GELU())
    _copy(module, 0, 2)
    module[0].weight.data[2] += 1e-4
    table = trace(module, torch.zeros(1, 3, 8, 8))
    assert equal_channels(module, table)["0"].tolist() == [0, 1, 2, 3, 4, 5]
    assert equal_channels(module, table, tolerance=1e-2)["0"].tolist() == [0, 1, 0, 3, 4, 5]


@pytest.mark.parametrize(
    ("middle", "remaining"),
    [(nn.ReLU(), 4), (nn.LeakyReLU(), 4), (nn.MaxPool2d(2), 4), (nn.GELU(), 6), (nn.ReLU6(), 6)],
)
def test_multiples_merge_only_through_homogeneous_functions(middle, remaining):
    module, images = _network(middle), torch.randn(2, 3, 9, 9)
    _copy(module, 0, 3, 2.5)
    _copy(module, 1, 4, 0.5)
    _copy(module, 2, 5, -1.0)  # ReLU is homogeneous only for positive factors
    table = trace(module, images)
    merged = merge_proportional(module, table, images)
    assert merged[0].weight.shape[0] == remaining
    assert difference(merged(images), module(images)) < 1e-5


def test_residual_channels_are_equal_only_if_all_their_producers_are():
    module, images = Residual(nn.ReLU()), torch.randn(2, 3, 4, 4)
    for layer in (module.one, module.two):
        layer.weight.data[2], layer.bias.data[2] = layer.weight.data[0], layer.bias.data[0]
    module.one.weight.data[3], module.one.bias.data[3] = module.one.weight.data[1], module.one.bias.data[1]
    table = trace(module, images)
    clusters = equal_channels(module, table)
    assert clusters["one"].tolist() == [0, 1, 0, 3]
    assert difference(merge(module, table, clusters)(images), module(images)) < 1e-5


def test_clusters_of_the_wrong_size_raise():
    module = _network(nn.ReLU())
    table = trace(module, torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match="group '0' has 6 channels"):
        merge(module, table, {"0": torch.zeros(5, dtype=torch.long)})


def test_first_members():
    assert first_members(torch.tensor([7, 7, 3, 9, 3])).tolist() == [0, 0, 2, 3, 2]


NOT_PROPORTIONAL = {
    "batch norm after the activation": lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3)
    ),
    "norm over channels": lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.GroupNorm(1, 6, affine=False), nn.ReLU(), nn.Conv2d(6, 4, 3)
    ),
    "padding with ones": lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.ConstantPad2d(1, 1.0), nn.Conv2d(6, 4, 3)),
}


@pytest.mark.parametrize("make", NOT_PROPORTIONAL.values(), ids=NOT_PROPORTIONAL.keys())
def test_multiples_that_do_not_remain_multiples_are_not_merged(make):
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
