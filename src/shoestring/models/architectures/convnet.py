"""The small-image network of the CIFAR-10 speed runs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shoestring.models.layers import max_pool_if_possible, scale_width


def convnet(
    classes: int, *, channels: int = 3, width: float = 1.0, norm: bool = True, dropout: float = 0.0
) -> nn.Module:
    """Fast small-image net: patch whitening and three blocks of 64, 256 and 256 filters (Jordan 2024, airbench94).

    Maps (N, channels, H, W) from 8x8 up to logits (N, classes). Call `whiten` with training images before training.
    """
    return ConvNet(classes, channels, [scale_width(filters, width) for filters in (64, 256, 256)], norm, dropout)


class ConvNet(nn.Module):
    """Whitening layer, three blocks, global max-pooling, linear head without bias scale_width by 1/9."""

    head_scale = 1 / 9  # as in `forward`

    def __init__(self, classes: int, channels: int, filters: list[int], norm: bool, dropout: float) -> None:
        super().__init__()
        patch = channels * 2 * 2
        self.whitening = nn.Conv2d(channels, 2 * patch, 2)
        self.whitening.weight.requires_grad = False
        inputs = [2 * patch, *filters]
        self.blocks = nn.Sequential(*(Block(a, b, norm) for a, b in zip(inputs, filters)))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(filters[-1], classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        maps = self.blocks(F.gelu(self.whitening(images)))
        return self.head(self.dropout(maps.amax((2, 3)))) / 9

    @torch.no_grad()
    def whiten(self, batch: Tensor) -> None:
        """Initialize the first layer to whiten the 2x2 patches of a prepared batch (N, C, H, W).

        Its filters are the eigenvectors of the patch covariance divided by the square root of their eigenvalues, and
        their negatives.
        """
        patches = F.unfold(batch.float(), 2).transpose(1, 2).flatten(0, 1)
        values, vectors = torch.linalg.eigh(torch.cov(patches.T))
        filters = (vectors / (values + 5e-4).sqrt()).T.reshape(-1, *self.whitening.weight.shape[1:])
        self.whitening.weight.copy_(torch.cat([filters, -filters]))


class Block(nn.Module):
    """3x3 convolution, max-pooling, batch norm, GELU; then the same without pooling."""

    def __init__(self, inputs: int, outputs: int, norm: bool) -> None:
        super().__init__()
        self.conv1 = _identity_convolution(inputs, outputs, bias=not norm)
        self.norm1 = _shift_norm(outputs) if norm else nn.Identity()
        self.conv2 = _identity_convolution(outputs, outputs, bias=not norm)
        self.norm2 = _shift_norm(outputs) if norm else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, outputs, H / 2, W / 2)."""
        maps = F.gelu(self.norm1(max_pool_if_possible(self.conv1(maps))))
        return F.gelu(self.norm2(self.conv2(maps)))


def _identity_convolution(inputs: int, outputs: int, *, bias: bool) -> nn.Conv2d:
    """A convolution initialized to the identity; filters beyond the number of inputs are initialized at random."""
    layer = nn.Conv2d(inputs, outputs, 3, padding="same", bias=bias)
    with torch.no_grad():
        nn.init.dirac_(layer.weight[:inputs])
        if layer.bias is not None:
            layer.bias.zero_()
    return layer


def _shift_norm(filters: int) -> nn.BatchNorm2d:
    """Batch norm with a fixed scale of 1: between a convolution and a GELU, only its shift needs training."""
    layer = nn.BatchNorm2d(filters, eps=1e-12, momentum=0.4)
    layer.weight.requires_grad = False
    return layer
