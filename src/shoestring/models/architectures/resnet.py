"""Residual networks for small images."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from shoestring.models.layers import PadChannels, init_weights, scale_width

Shortcut = Literal["A", "B"]


def resnet20(
    classes: int, *, channels: int = 3, width: float = 1.0, dropout: float = 0.0, shortcut: Shortcut = "A"
) -> nn.Module:
    """ResNet-20 for small images: three stages of 16, 32 and 64 filters (He et al. 2016).

    If a stage changes the number of channels, shortcut A pads with zeros and B learns a 1x1 convolution. Maps
    (N, channels, H, W) from 8x8 up to logits (N, classes).
    """
    return ResNet(classes, channels, [scale_width(f, width) for f in (16, 32, 64)], 3, shortcut, dropout)


def resnet56(
    classes: int, *, channels: int = 3, width: float = 1.0, dropout: float = 0.0, shortcut: Shortcut = "A"
) -> nn.Module:
    """ResNet-56 for small images: ResNet-20 with nine blocks in each stage instead of three (He et al. 2016)."""
    return ResNet(classes, channels, [scale_width(f, width) for f in (16, 32, 64)], 9, shortcut, dropout)


def resnet18(
    classes: int, *, channels: int = 3, width: float = 1.0, dropout: float = 0.0, shortcut: Shortcut = "B"
) -> nn.Module:
    """ResNet-18 (He et al. 2016) with a 3x3 first layer of stride 1 and no pooling after it, for small images."""
    return ResNet(classes, channels, [scale_width(f, width) for f in (64, 128, 256, 512)], 2, shortcut, dropout)


class ResNet(nn.Module):
    """A 3x3 convolution, stages of basic blocks that halve the resolution, global average pooling, linear head."""

    def __init__(
        self, classes: int, channels: int, filters: list[int], blocks: int, shortcut: Shortcut, dropout: float
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters[0])
        inputs = filters[0]
        for stage, outputs in enumerate(filters):
            strides = [1 if stage == 0 else 2] + [1] * (blocks - 1)
            layers = [BasicBlock(inputs if i == 0 else outputs, outputs, s, shortcut) for i, s in enumerate(strides)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
            inputs = outputs
        self.stages = len(filters)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(filters[-1], classes)
        init_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        maps = F.relu(self.bn1(self.conv1(images)))
        for stage in range(self.stages):
            maps = self.get_submodule(f"layer{stage + 1}")(maps)
        return self.linear(self.dropout(maps.mean((2, 3))))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a residual connection."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = (
                _projection(inputs, outputs, stride) if shortcut == "B" else _padding(inputs, outputs, stride)
            )

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, outputs, H / stride, W / stride)."""
        inner = F.relu(self.bn1(self.conv1(maps)))
        return F.relu(self.bn2(self.conv2(inner)) + self.shortcut(maps))


class Subsample(nn.Module):
    """Select every `stride`-th pixel of (N, C, H, W)."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H / stride, W / stride), rounded up."""
        return maps[:, :, :: self.stride, :: self.stride]


def _padding(inputs: int, outputs: int, stride: int) -> nn.Module:
    before = (outputs - inputs) // 2
    return nn.Sequential(Subsample(stride), PadChannels(before, outputs - inputs - before))


def _projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
