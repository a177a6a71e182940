"""What a network expects as input, and how pixels become that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from shoestring.config.fit import DEFAULT_FIT, FITS, Fit

INTERPOLATIONS = ("bilinear", "bicubic")
_MAX_SIZE = 4096  # pixels per side, and channels


@dataclass(frozen=True)
class Preprocessing:
    """The input of a network: square images of `resolution` pixels, scaled to 0..1 and normalized by mean and std.

    `interpolation` ("bilinear" or "bicubic") is how images of another size are resized, and `fit` ("crop", "squash" or
    "pad") how rectangles become squares when they are decoded. `mirror` and `shift` configure
    test-time augmentation (`shoestring.models.tta`). Raises `ValueError` for impossible values, such as a standard
    deviation of zero or another number of means than channels.
    """

    resolution: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mirror: bool = False  # average predictions over the image and its mirror image
    shift: int = 0  # where these are ambiguous, also over the image shifted by so many pixels along the diagonal
    interpolation: str = "bilinear"
    fit: Fit = DEFAULT_FIT

    def __post_init__(self) -> None:
        if not _is_integer(self.resolution, 1, _MAX_SIZE):
            raise ValueError(f"resolution must be an integer from 1 to {_MAX_SIZE}, not {self.resolution!r}.")
        if not _is_integer(self.channels, 1, _MAX_SIZE):
            raise ValueError(f"channels must be an integer above 0, not {self.channels!r}.")
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"{self.channels} channels need as many means and deviations: {self.mean}, {self.std}.")
        if not all(map(is_finite, self.mean)):
            raise ValueError(f"mean must be finite numbers, not {self.mean}.")
        if not all(is_finite(value) and value > 0 for value in self.std):
            raise ValueError(f"std must be finite numbers above 0, not {self.std}.")
        if not isinstance(self.mirror, bool):
            raise ValueError(f"mirror must be true or false, not {self.mirror!r}.")
        if not _is_integer(self.shift, 0, self.resolution - 1):
            raise ValueError(f"shift must be an integer from 0 to less than the resolution, not {self.shift!r}.")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation must be one of {', '.join(INTERPOLATIONS)}, not {self.interpolation!r}.")
        if self.fit not in FITS:
            raise ValueError(f"fit must be one of {', '.join(FITS)}, not {self.fit!r}.")


def prepare(pixels: Tensor, preprocessing: Preprocessing, *, resolution: int | None = None) -> Tensor:
    """Convert uint8 pixels (N, H, W, C) to network input, float32 (N, channels, R, R), channels-last, same device.

    R is `resolution`, by default that of the preprocessing. Grayscale images are repeated for a color network; for a
    grayscale network, colors become luma (ITU-R 601, as image files are decoded). Images of another size are resized
    with antialiasing.
    """
    if pixels.dtype != torch.uint8 or pixels.ndim != 4:
        raise ValueError(f"pixels are uint8 (N, H, W, C), not {pixels.dtype} {tuple(pixels.shape)}.")
    size = resolution or preprocessing.resolution
    images = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last).div_(255)
    if images.shape[1] != preprocessing.channels:
        images = _to_grayscale(images).expand(-1, preprocessing.channels, -1, -1)
    if images.shape[2:] != (size, size):
        mode = preprocessing.interpolation
        images = functional.interpolate(images, (size, size), mode=mode, antialias=True, align_corners=False)
        if mode == "bicubic":  # overshoots at edges
            images = images.clamp(0.0, 1.0)
    mean, std = (_per_channel(values, images.device) for values in (preprocessing.mean, preprocessing.std))
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def _to_grayscale(images: Tensor) -> Tensor:
    """Luma (N, 1, H, W) of grayscale or color images (N, C, H, W)."""
    if images.shape[1] == 1:
        return images
    return (images * _per_channel((0.299, 0.587, 0.114), images.device)).sum(1, keepdim=True)


@lru_cache(maxsize=64)
def _per_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """One value per channel (1, C, 1, 1); cached, because copying it to a device synchronizes with that device."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1)


def is_finite(value: Any) -> bool:
    """Whether a value is a finite real number, and no truth value."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_integer(value: Any, lowest: int, highest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest
