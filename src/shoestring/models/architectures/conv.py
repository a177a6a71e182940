"""The small convolutional networks of the lottery ticket experiments (Frankle & Carbin 2019)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from shoestring.models.layers import max_pool_if_possible, scale_width


def conv2(classes: int, *, channels: int = 3, width: float = 1.0, dropout: float = 0.0) -> nn.Module:
    """Two 3x3 convolutions of 64 filters, pooling, two hidden linear layers of 256 units (Frankle & Carbin 2019).

    Maps (N, channels, H, W) to logits (N, classes); 4.3 million weights for color images and ten classes. After the
    last pooling, maps are averaged, or repeated, to 16 x 16, their size for images of 32 x 32 pixels. Dropout follows
    the hidden layers.
    """
    return Conv(classes, channels, [64], width, dropout)


def conv4(classes: int, *, channels: int = 3, width: float = 1.0, dropout: float = 0.0) -> nn.Module:
    """As `conv2`, with two more convolutions of 128 filters and pooling, to 8 x 8 (Frankle & Carbin 2019)."""
    return Conv(classes, channels, [64, 128], width, dropout)


def conv6(classes: int, *, channels: int = 3, width: float = 1.0, dropout: float = 0.0) -> nn.Module:
    """As `conv4`, with two more convolutions of 256 filters and pooling, to 4 x 4 (Frankle & Carbin 2019)."""
    return Conv(classes, channels, [64, 128, 256], width, dropout)


class Conv(nn.Module):
    """Stages of two convolutions and pooling, two hidden layers, head; without normalization."""

    def __init__(self, classes: int, channels: int, stages: list[int], width: float, dropout: float) -> None:
        super().__init__()
        inputs, layers = channels, []
        for filters in (scale_width(filters, width) for filters in stages):
            layers += [nn.Conv2d(inputs, filters, 3, padding=1), nn.Conv2d(filters, filters, 3, padding=1)]
            inputs = filters
        self.convolutions = nn.ModuleList(layers)
        self.side = 32 >> len(stages)
        hidden = scale_width(256, width)
        self.hidden1 = nn.Linear(inputs * self.side**2, hidden)
        self.hidden2 = nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, classes)
        for layer in (*layers, self.hidden1, self.hidden2, self.head):
            nn.init.xavier_normal_(layer.weight)  # Glorot & Bengio 2010, as in the paper
            nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        maps = images
        for index, layer in enumerate(self.convolutions):
            maps = F.relu(layer(maps))
            maps = max_pool_if_possible(maps) if index % 2 else maps
        features = F.adaptive_avg_pool2d(maps, self.side).flatten(1)
        for layer in (self.hidden1, self.hidden2):
            features = self.dropout(F.relu(layer(features)))
        return self.head(features)
