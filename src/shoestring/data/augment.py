"""Random augmentation of batches: flip, shift and crop by indexing uint8 pixels once, the rest on floats."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augment:
    """Augmentation of training images; lengths are fractions of the side, so that they apply at any resolution."""

    flip: bool = True  # mirrored in every other epoch, starting at random (Jordan 2024, "94 % on CIFAR-10")
    shift: float = 0.0  # maximum shift; edges are reflected
    cutout: float = 0.0  # side of the gray square (DeVries & Taylor 2017)
    rotate: float = 0.0  # maximum angle in degrees
    zoom: float = 0.0  # maximum relative change of scale
    jitter: float = 0.0  # maximum change of brightness in standard deviations, and of contrast and saturation
    mixup: float = 0.0  # fraction of images mixed (Zhang et al. 2018)
    strength: tuple[float, ...] = (1.0,)  # factors on all of these values, evenly spaced over training

    def at(self, progress: float) -> Augment:
        """Return the augmentation at this fraction of training; the strength is interpolated linearly.

        Increasing strength is progressive learning (Tan & Le 2021, EfficientNetV2).
        """
        factor = float(np.interp(progress, np.linspace(0, 1, len(self.strength)), self.strength))
        return replace(self, **{name: factor * getattr(self, name) for name in _MAGNITUDES}, strength=(1.0,))


_MAGNITUDES = ("shift", "cutout", "rotate", "zoom", "jitter", "mixup")


def gather_pixels(pixels: Tensor, index: Tensor, *, mirrored: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Gather rows and columns of images: uint8 (N, H, W, C) -> (B, h, w, C).

    `index` (B,) selects the images, `rows` (B, h) and `columns` (B, w) their pixels; indices outside the image are
    reflected at its edges. `mirrored` (B,), bool, reverses the columns.
    """
    count, height, width, channels = pixels.shape
    rows, columns = _reflect(rows, height), _reflect(columns, width)
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    flat = (index[:, None, None] * height + rows[:, :, None]) * width + columns[:, None, :]
    gathered = pixels.view(count * height * width, channels).index_select(0, flat.reshape(-1))
    return gathered.view(len(index), rows.shape[1], columns.shape[1], channels)


def _reflect(index: Tensor, size: int) -> Tensor:
    """Reflect indices outside [0, size) at the edge pixels, which are not repeated."""
    return (size - 1) - ((size - 1) - index.abs()).abs()


def random_windows(count: int, size: int, window: int, shift: int, generator: torch.Generator) -> Tensor:
    """Return pixel indices (count, window) of windows at random positions, up to `shift` pixels beyond the edges."""
    low, high = min(-shift, size - window + shift), max(-shift, size - window + shift)
    start = torch.randint(low, high + 1, (count, 1), generator=generator, device=generator.device)
    return start + torch.arange(window, device=generator.device)


def cutout(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Set a square of `side` pixels at a random position of each image (B, C, H, W) to zero, the mean color."""
    if side < 1:
        return images
    batch, _, height, width = images.shape

    def outside(size: int) -> Tensor:
        center = torch.randint(0, size, (batch, 1), generator=generator, device=generator.device)
        distance = torch.arange(size, device=generator.device) - center + side // 2
        return (distance < 0) | (distance >= side)

    keep = outside(height)[:, None, :, None] | outside(width)[:, None, None, :]
    return images * keep


def mixup(images: Tensor, targets: Tensor, fraction: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mix this fraction of a batch (B, ...), and its targets (B, ...), with the previous image of each.

    Mixing coefficients are uniform in 0..1 (mixup with alpha 1, Zhang et al. 2018).
    """
    chance, coefficient = torch.rand((2, len(images)), generator=generator, device=generator.device)
    coefficient = coefficient * (chance < fraction)
    weight = coefficient.view(-1, *[1] * (images.ndim - 1)).to(images.dtype)
    mixed = torch.lerp(images, images.roll(1, 0), weight)
    return mixed, torch.lerp(targets, targets.roll(1, 0), coefficient.view(-1, *[1] * (targets.ndim - 1)))


def color_jitter(images: Tensor, jitter: float, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast and saturation of each image (B, C, H, W) by up to `jitter` (Howard 2013).

    Contrast is the deviation from the image's mean, saturation that of a pixel's channels from their mean.
    """
    if not jitter:
        return images
    draw = torch.rand((3, len(images), 1, 1, 1), generator=generator, device=generator.device) * 2 - 1
    brightness, contrast, saturation = draw * jitter + torch.tensor([0.0, 1, 1], device=draw.device).view(3, 1, 1, 1, 1)
    mean = images.mean((1, 2, 3), keepdim=True)
    images = torch.addcmul(mean * (1 - contrast) + brightness, images, contrast)
    return torch.lerp(images.mean(1, keepdim=True), images, saturation)


def rotate_and_zoom(images: Tensor, rotate: float, zoom: float, generator: torch.Generator) -> Tensor:
    """Rotate each image (B, C, H, W) by up to `rotate` degrees, scale it by up to 1 +- `zoom`; edges are reflected."""
    if not rotate and not zoom:
        return images
    draw = torch.rand((2, len(images)), generator=generator, device=generator.device) * 2 - 1
    angle, scale = draw[0] * math.radians(rotate), 1 + draw[1] * zoom
    cosine, sine, zero = angle.cos() / scale, angle.sin() / scale, torch.zeros_like(angle)
    matrix = torch.stack([torch.stack([cosine, -sine, zero], 1), torch.stack([sine, cosine, zero], 1)], 1)
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    result = functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return result.contiguous(memory_format=torch.channels_last)
