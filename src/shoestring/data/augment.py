"""Random changes of whole batches: mirror, shift and crop in one gather of bytes; the rest on floats."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augment:
    """What may happen to a training image; lengths are shares of the side, so that they hold at any resolution."""

    flip: bool = True  # mirrored in every second epoch, starting at random (Jordan 2024, "94 % on CIFAR-10")
    shift: float = 0.0  # largest shift, edges reflected
    cutout: float = 0.0  # side of the grey square (DeVries & Taylor 2017)
    rotate: float = 0.0  # largest angle in degrees
    zoom: float = 0.0  # largest change of scale
    jitter: float = 0.0  # largest change of contrast and colour, as a share, and of brightness, in standard deviations
    mixup: float = 0.0  # share of the images that others shine through (Zhang et al. 2018)
    strength: tuple[float, ...] = (1.0,)  # share of all of these numbers at equal distances over the training

    def at(self, progress: float) -> Augment:
        """What may happen when this share of the training is over, the strength on a line between two of those given.

        A strength that grows is that of progressive learning (Tan & Le 2021, EfficientNetV2).
        """
        share = float(np.interp(progress, np.linspace(0, 1, len(self.strength)), self.strength))
        return replace(self, **{name: share * getattr(self, name) for name in _SIZES}, strength=(1.0,))


_SIZES = ("shift", "cutout", "rotate", "zoom", "jitter", "mixup")


def gather(pixels: Tensor, index: Tensor, *, mirrored: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Rows and columns of chosen images: uint8 (N, H, W, C) -> (B, h, w, C).

    `index` (B,) says which images, `rows` (B, h) and `columns` (B, w) which of their pixels, reflected at the edges
    where they lie outside; `mirrored` (B,) bool turns the columns around.
    """
    count, height, width, channels = pixels.shape
    rows, columns = _reflect(rows, height), _reflect(columns, width)
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    flat = (index[:, None, None] * height + rows[:, :, None]) * width + columns[:, None, :]
    taken = pixels.view(count * height * width, channels).index_select(0, flat.reshape(-1))
    return taken.view(len(index), rows.shape[1], columns.shape[1], channels)


def _reflect(position: Tensor, size: int) -> Tensor:
    """Positions outside [0, size) mirrored back at the edge pixels, which are not repeated."""
    return (size - 1) - ((size - 1) - position.abs()).abs()


def offsets(count: int, size: int, window: int, shift: int, generator: torch.Generator) -> Tensor:
    """Positions (count, window) of a window of pixels at a random place, up to `shift` pixels beyond the edges."""
    low, high = min(-shift, size - window + shift), max(-shift, size - window + shift)
    start = torch.randint(low, high + 1, (count, 1), generator=generator, device=generator.device)
    return start + torch.arange(window, device=generator.device)


def cut_out(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Set a square of that many pixels at a random place in each image (B, C, H, W) to zero, the mean colour."""
    if side < 1:
        return images
    batch, _, height, width = images.shape

    def outside(size: int) -> Tensor:
        centre = torch.randint(0, size, (batch, 1), generator=generator, device=generator.device)
        distance = torch.arange(size, device=generator.device) - centre + side // 2
        return (distance < 0) | (distance >= side)

    keep = outside(height)[:, None, :, None] | outside(width)[:, None, None, :]
    return images * keep


def mix(images: Tensor, targets: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """That share of a batch (B, C, H, W) with the image before each shining through, and targets (B, classes) alike.

    How much of it is drawn evenly from nothing to all (mixup with alpha 1, Zhang et al. 2018).
    """
    chance, part = torch.rand((2, len(images)), generator=generator, device=generator.device)
    part = part * (chance < share)
    mixed = torch.lerp(images, images.roll(1, 0), part.view(-1, 1, 1, 1))
    return mixed, torch.lerp(targets, targets.roll(1, 0), part.view(-1, 1))


def tint(images: Tensor, jitter: float, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast and saturation of each image (B, C, H, W) by up to `jitter` (Howard 2013).

    Contrast is the distance from the image's mean, saturation that of a pixel's channels from their mean.
    """
    if not jitter:
        return images
    draw = torch.rand((3, len(images), 1, 1, 1), generator=generator, device=generator.device) * 2 - 1
    brightness, contrast, saturation = draw * jitter + torch.tensor([0.0, 1, 1], device=draw.device).view(3, 1, 1, 1, 1)
    mean = images.mean((1, 2, 3), keepdim=True)
    images = torch.addcmul(mean * (1 - contrast) + brightness, images, contrast)
    return torch.lerp(images.mean(1, keepdim=True), images, saturation)


def turn(images: Tensor, rotate: float, zoom: float, generator: torch.Generator) -> Tensor:
    """Rotate each image (B, C, H, W) by up to `rotate` degrees, scale it by up to the share `zoom`; edges reflected."""
    if not rotate and not zoom:
        return images
    draw = torch.rand((2, len(images)), generator=generator, device=generator.device) * 2 - 1
    angle, scale = draw[0] * math.radians(rotate), 1 + draw[1] * zoom
    cosine, sine, zero = angle.cos() / scale, angle.sin() / scale, torch.zeros_like(angle)
    matrix = torch.stack([torch.stack([cosine, -sine, zero], 1), torch.stack([sine, cosine, zero], 1)], 1)
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    turned = functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return turned.contiguous(memory_format=torch.channels_last)
