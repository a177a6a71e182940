"""Plain stacks of 3x3 convolutions for small images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from shoestring.models.layers import init_weights, max_pool_if_possible, scale_width


def vgg8(classes: int, *, channels: int = 3, width: float = 1.0, norm: bool = True, dropout: float = 0.0) -> nn.Module:
    """VGG-8 for small images: five convolutions, each followed by pooling, and a linear head (after Simonyan 2015).

    Maps (N, channels, H, W) from 8x8 up to logits (N, classes).
    """
    return VGG(classes, channels, _scaled([[64], [128], [256], [512], [512]], width), norm, dropout)


def vgg16(classes: int, *, channels: int = 3, width: float = 1.0, norm: bool = True, dropout: float = 0.0) -> nn.Module:
    """VGG-16 for small images: thirteen convolutions in five stages and one linear head (after Simonyan 2015)."""
    stages = [[64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3]
    return VGG(classes, channels, _scaled(stages, width), norm, dropout)


class VGG(nn.Module):
    """Stages of 3x3 convolutions, each ended by pooling if the maps are large enough; global average; linear head."""

    def __init__(self, classes: int, channels: int, stages: list[list[int]], norm: bool, dropout: float) -> None:
        super().__init__()
        inputs, parts = channels, []
        for filters in stages:
            layers: list[nn.Module] = []
            for outputs in filters:
                layers.append(nn.Conv2d(inputs, outputs, 3, padding=1, bias=not norm))
                layers += [nn.BatchNorm2d(outputs)] if norm else []
                layers.append(nn.ReLU())
                inputs = outputs
            parts.append(nn.Sequential(*layers))
        self.stages = nn.ModuleList(parts)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(inputs, classes)
        init_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        maps = images
        for stage in self.stages:
            maps = max_pool_if_possible(stage(maps))
        return self.head(self.dropout(F.adaptive_avg_pool2d(maps, 1).flatten(1)))


def _scaled(stages: list[list[int]], width: float) -> list[list[int]]:
    return [[scale_width(filters, width) for filters in stage] for stage in stages]
