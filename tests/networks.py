"""Networks for surgery tests, with batch-norm statistics and weights that affect the outputs."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from shoestring.channels import Table, trace
from shoestring.models import Preprocessing, build

NETWORKS = [
    ("convnet", {"width": 0.25}),
    ("convnet", {"width": 0.25, "norm": False}),
    ("resnet20", {"shortcut": "A"}),
    ("resnet20", {"shortcut": "B"}),
    ("resnet18", {"width": 0.125}),
    ("vgg8", {"width": 0.125}),
    ("vgg16", {"width": 0.125, "norm": False}),
    ("simplecnn", {"width": 0.5}),
    ("timm:test_resnet", {}),
    ("timm:test_efficientnet", {}),
]
LARGE = [("resnet56", {"width": 0.25}), ("timm:mobilenetv3_small_050", {})]  # which take longer to trace
FOREIGN = [
    ("timm:test_byobnet", {}),
    ("timm:test_convnext", {}),
    ("timm:test_nfnet", {}),
    ("timm:test_vit", {"img_size": 32}),
]


def names(networks: list[tuple[str, dict]]) -> list[str]:
    """Return test ids."""
    return [f"{name} {options}" for name, options in networks]


def network(name: str, options: dict, side: int = 16) -> nn.Module:
    """Build a network in evaluation mode with random batch-norm statistics and weights."""
    torch.manual_seed(0)
    size = Preprocessing(side, 3, (0.0,) * 3, (1.0,) * 3)
    module = build(name, classes=list("abcde"), preprocessing=size, options=options).module
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.2, 0.2)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.2, 0.2)
    return module.eval()


def traced(name: str, options: dict, side: int = 16) -> tuple[nn.Module, Table]:
    """Build a network, and return it with its channel table, which is the same each time."""
    table = _table(name, tuple(options.items()), side)
    return network(name, options, side), table


@cache
def _table(name: str, options: tuple, side: int) -> Table:
    return trace(network(name, dict(options), side), torch.randn(3, 3, side, side))


class Residual(nn.Module):
    """One residual connection around a convolution and an activation."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.one, self.two, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)
        self.activation = activation

    def forward(self, images: Tensor) -> Tensor:
        maps = self.one(images)
        return self.last(maps + self.activation(self.two(maps)))


def random_kept(table: Table, fraction: float) -> dict[str, Tensor]:
    """Return random channels of every group to keep, at least one."""
    return {
        name: torch.randperm(group.size)[: max(1, int(group.size * fraction))].sort().values
        for name, group in table.groups.items()
    }


def difference(output: Tensor, expected: Tensor) -> float:
    """Return the largest difference, relative to the largest entry."""
    return ((output - expected).abs().max() / expected.abs().max()).item()
