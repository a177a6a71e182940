"""Images of any size become squares as `shoestring.data.decode` makes them, in operations that every runtime has.

Resizing is linear, so it is a matrix product along each axis. The ONNX operator `Resize` would do as well, but it
cannot crop between two pixels, which `decode` does at odd margins, and few runtimes have its antialiasing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from shoestring.config.fit import Fit
from shoestring.data.squares import PADDING

Length = Any  # a whole number, or its symbol while a program is traced
_A = -0.5  # coefficient of Pillow's bicubic filter (Keys 1981)


def is_square(images: Tensor, resolution: int) -> Tensor:
    """Return whether images (N, C, H, W) are squares of this side, a truth value that can be traced."""
    height, width = (torch.scalar_tensor(side, dtype=torch.int64) for side in images.shape[2:])
    return (height == resolution) & (width == resolution)


def to_squares(images: Tensor, resolution: int, fit: Fit) -> Tensor:
    """Resize images (N, C, H, W), floats in 0..255, to (N, C, resolution, resolution) as they are decoded.

    The filter is bicubic with antialiasing. Columns are resized first, and both results are rounded to whole numbers in
    0..255.
    """
    height, width = images.shape[2], images.shape[3]
    shorter, longer = torch.sym_min(height, width), torch.sym_max(height, width)
    for axis, length in ((3, width), (2, height)):
        part = shorter if fit == "crop" else length  # pixels of this axis that are in the square
        filled = _rounded_ratio(length * resolution, longer) if fit == "pad" else resolution
        weights, bars = resize_matrix(length, part, filled, resolution, device=images.device)
        images = images @ weights.T if axis == 3 else weights @ images
        images = (images + 0.5).floor().clamp(0, 255) + (bars if axis == 3 else bars[:, None])
    return images


def resize_matrix(
    length: Length, part: Length, filled: Length, resolution: int, *, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the weights (resolution, length) that resize one axis, and the gray levels (resolution,) of the bars.

    The `part` in the middle of the `length` pixels of an image is resized to `filled` pixels in the middle of the
    square; beside them there are bars. Positions are whole numbers, so that they are exact for every size.
    """
    first = (resolution - filled) // 2
    source = 2 * torch.arange(length, device=device) + 1 - (length - part)  # centers, in half pixels of the part
    target = torch.arange(resolution, device=device) - first
    outside = (target < 0) | (target >= filled)
    distance = source * filled - ((2 * target + 1) * part)[:, None]  # in units of 1 / (2 * filled) pixels
    unit: Length = 2 * torch.sym_max(part, filled)
    weights = _bicubic(distance.to(torch.float32) / unit)
    weights = weights / weights.sum(1, keepdim=True)
    weights = torch.where(outside[:, None], torch.zeros_like(weights), weights)
    return weights, outside * float(PADDING)


def _bicubic(distance: Tensor) -> Tensor:
    """Return the filter's weights at distances in units of its pixels; zero from 2 on."""
    x = distance.abs()
    near = ((_A + 2) * x - (_A + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * _A
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _rounded_ratio(numerator: Length, denominator: Length) -> Length:
    """Return the quotient rounded to a whole number, at least one."""
    return torch.sym_max(1, (2 * numerator + denominator) // (2 * denominator))
