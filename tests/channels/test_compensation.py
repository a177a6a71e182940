from __future__ import annotations

import pytest
import torch
from torch import nn

from networks import NETWORKS, difference, names, random_kept, traced
from shoestring.channels import compensate, drop, fold_constants, trace


def test_redundant_channels_are_compensated_exactly():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 4, 3, padding=1), nn.Flatten(), nn.Linear(16, 2)).eval()
    with torch.no_grad():  # the last two are linear combinations of the first three
        for weight in (module[0].weight, module[0].bias):
            weight[3], weight[4] = weight[0] + weight[1], weight[1] - 2 * weight[2]
    images = torch.randn(8, 3, 4, 4)
    table = trace(module, images)
    kept = {"0": torch.tensor([0, 1, 2])}
    assert difference(compensate(module, table, kept, [images])(images), module(images)) < 1e-3
    assert difference(drop(module, table, kept)(images), module(images)) > 0.1


def test_consumers_get_the_least_squares_solution():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    inputs = torch.randn(200, 6)
    table = trace(module, inputs)
    kept = torch.tensor([0, 2, 3, 7])
    small = compensate(module, table, {"0": kept}, [inputs[:100], inputs[100:]])
    hidden = module[:2](inputs).detach().double()
    matrix = torch.linalg.lstsq(hidden[:, kept], hidden).solution.T
    assert difference(small[2].weight.double(), module[2].weight.double() @ matrix) < 1e-2
    assert torch.equal(small[2].bias, module[2].bias)


def test_sampled_positions_cover_the_whole_image():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(2, 3, 1, bias=False), nn.Conv2d(3, 4, 1, bias=False)).eval()
    with torch.no_grad():
        module[0].weight[2] = module[0].weight[1]
    images = torch.randn(256, 2, 16, 16)
    images[..., 0] = 0.0  # 65,536 positions, one in sixteen of them uninformative
    kept = {"0": torch.tensor([0, 1])}
    small = compensate(module, trace(module, images[:2]), kept, [images])
    assert difference(small(images), module(images)) < 1e-3


@pytest.mark.parametrize(("name", "options"), NETWORKS, ids=names(NETWORKS))
def test_compensation_reduces_the_error_of_every_network(name, options):
    (module, table), images = traced(name, options), torch.randn(32, 3, 16, 16)
    kept = random_kept(table, 0.7)
    with torch.no_grad():
        whole = module(images)
        errors = [
            (small(images) - whole).square().mean()
            for small in (compensate(module, table, kept, [images]), drop(module, table, kept))
        ]
    assert errors[0] < errors[1]


def test_dead_channels_and_complete_groups():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    module[0].weight.data.zero_()
    module[0].bias.data.fill_(-1.0)
    images = torch.randn(2, 3, 4, 4)
    table = trace(module, images)
    for kept in ([0, 1], [0, 1, 2, 3]):
        small = compensate(module, table, {"0": torch.tensor(kept)}, [images])
        assert torch.allclose(small(images), module(images), atol=1e-6)


def _with_constants(consumer: nn.Module, *following: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.GELU(), consumer, *following).eval()
    with torch.no_grad():
        module[0].weight[[1, 3]] = 0
        module[1].bias.copy_(torch.tensor([0.1, 0.7, -0.2, 1.5]))
    return module


@pytest.mark.parametrize(
    ("following", "remaining"),
    [
        ([nn.Conv2d(4, 5, 3)], 2),
        ([nn.Conv2d(4, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 2, 1)], 2),
        ([nn.Conv2d(4, 5, 3, bias=False), nn.ReLU(), nn.Conv2d(5, 2, 1)], 4),  # no bias or mean to absorb the constant
        ([nn.Conv2d(4, 5, 3, padding=1)], 4),  # zero padding differs from the constant
        ([nn.Flatten(), nn.Linear(4 * 36, 3)], 2),
    ],
)
def test_constants_are_folded_into_the_next_bias(following, remaining):
    module, images = _with_constants(*following), torch.randn(4, 3, 6, 6)
    table = trace(module, images)
    folded = fold_constants(module, table, [images])
    assert folded[0].weight.shape[0] == remaining
    assert difference(folded(images), module(images)) < 1e-5


def test_a_constant_of_zero_is_folded_despite_padding():
    module, images = _with_constants(nn.Conv2d(4, 5, 3, padding=1)), torch.randn(4, 3, 6, 6)
    module[0].bias.data[1] = module[1].bias.data[1] = 0
    folded = fold_constants(module, trace(module, images), [images])
    assert folded[0].weight.shape[0] == 3
    assert difference(folded(images), module(images)) < 1e-5


class Branches(nn.Module):
    """A constant channel that would be folded wrongly: batch norm after an activation, or a second consumer."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.first, self.kind = nn.Conv2d(3, 4, 1), kind
        self.one, self.other = nn.Conv2d(4, 5, 1, bias=False), nn.Conv2d(4, 5, 1, bias=False)
        self.norm, self.last = nn.BatchNorm2d(5), nn.Conv2d(5, 2, 1)
        self.up = nn.ConvTranspose2d(4, 2, 3, 2)
        nn.init.zeros_(self.first.weight[1].data)
        self.first.bias.data[1] = 1.0

    def forward(self, images):
        maps = self.first(images).relu()
        if self.kind == "norm after an activation":
            return self.last(self.norm(self.one(maps).relu()))
        if self.kind == "second consumer":
            return self.last(self.norm(self.one(maps)) + self.other(maps))
        return self.up(maps)


@pytest.mark.parametrize("kind", ["norm after an activation", "second consumer", "transposed convolution"])
def test_constants_that_cannot_be_folded_are_kept(kind):
    torch.manual_seed(0)
    module, images = Branches(kind).eval(), torch.randn(2, 3, 6, 6)
    folded = fold_constants(module, trace(module, images), [images])
    assert folded.first.weight.shape[0] == 4
    assert difference(folded(images), module(images)) < 1e-5


def test_folding_in_place():
    module, images = _with_constants(nn.Conv2d(4, 5, 3)), torch.randn(4, 3, 6, 6)
    before = module(images)
    assert fold_constants(module, trace(module, images), [images], inplace=True) is module
    assert module[0].weight.shape[0] == 2
    assert difference(module(images), before) < 1e-5


class OneImage(nn.Module):
    """Layers with unbatched inputs, vectors or feature maps (C, H, W), passed by position or by name."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 6, 1)
        self.c, self.h = nn.Linear(6, 7), nn.Linear(7, 5)

    def forward(self, images):
        maps = self.b(self.a(images[0]).relu())
        return self.h(input=self.c(maps.mean((1, 2))).relu())


def test_unbatched_inputs():
    module, images = OneImage().eval(), torch.randn(1, 3, 4, 4)
    table = trace(module, images)
    kept = {name: torch.arange(group.size - 1) for name, group in table.groups.items()}
    batches = [torch.randn(1, 3, 4, 4) for _ in range(60)]
    small = compensate(module, table, kept, batches)
    assert small(images).shape == (5,)
    errors = [
        sum((pruned(images) - module(images)).square().sum() for images in batches)
        for pruned in (small, drop(module, table, kept))
    ]
    assert errors[0] < errors[1]
    with torch.no_grad():
        module.c.weight[2] = 0
    folded = fold_constants(module, table, batches[:2])
    assert folded.c.weight.shape == (6, 6)
    assert torch.allclose(folded(images), module(images), atol=1e-5)


def test_layers_that_lose_no_channels_are_unchanged():
    module, images = OneImage().eval(), torch.randn(1, 3, 4, 4)
    table = trace(module, images)
    kept = {name: torch.arange(group.size) for name, group in table.groups.items()}
    same = compensate(module, table, kept, [images])
    assert all(torch.equal(tensor, same.state_dict()[name]) for name, tensor in module.state_dict().items())
