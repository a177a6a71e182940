"""A minimal convolutional network."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from shoestring.models.layers import init_weights, max_pool_if_possible, scale_width


def simplecnn(
    classes: int, *, channels: int = 3, width: float = 1.0, norm: bool = False, dropout: float = 0.0
) -> nn.Module:
    """Two 3x3 convolutions of 32 and 64 filters, one hidden linear layer of 128 units, a linear head.

    Maps (N, channels, H, W) from 8x8 up to logits (N, classes). Dropout follows the convolutions and the hidden layer.
    """
    first, second, hidden = (scale_width(units, width) for units in (32, 64, 128))
    return SimpleCNN(classes, channels, (first, second, hidden), norm, dropout)


class SimpleCNN(nn.Module):
    """Convolution and pooling twice, 4x4 averages, hidden layer, head."""

    def __init__(self, classes: int, channels: int, sizes: tuple[int, int, int], norm: bool, dropout: float) -> None:
        super().__init__()
        first, second, hidden = sizes
        self.conv1 = nn.Conv2d(channels, first, 3, padding=1, bias=not norm)
        self.norm1 = nn.BatchNorm2d(first) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(first, second, 3, padding=1, bias=not norm)
        self.norm2 = nn.BatchNorm2d(second) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(second * 4 * 4, hidden)
        self.head = nn.Linear(hidden, classes)
        init_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        maps = max_pool_if_possible(F.relu(self.norm1(self.conv1(images))))
        maps = max_pool_if_possible(F.relu(self.norm2(self.conv2(maps))))
        features = F.adaptive_avg_pool2d(maps, 4).flatten(1)
        return self.head(self.dropout(F.relu(self.hidden(self.dropout(features)))))
