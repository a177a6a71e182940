"""How a rectangle becomes a square: which part of it is resized to which size, and what is added at its sides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.config.fit import Fit

PADDING = 128  # gray level of the bars of "pad", of 0..255: about zero once pixels are normalized, whatever the network


def native_side(size: tuple[int, int], fit: Fit) -> int:
    """Return the side of the square at which an image of this (width, height) keeps its scale.

    It is the shorter side, or with "pad" the longer one.
    """
    return max(size) if fit == "pad" else min(size)


def source_box(size: tuple[int, int], fit: Fit) -> tuple[float, float, float, float]:
    """Return the part (left, top, right, bottom) of an image of this (width, height) that is in the square.

    It is the center square for "crop", otherwise the whole image.
    """
    width, height = size
    if fit != "crop":
        return 0.0, 0.0, float(width), float(height)
    side = min(size)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def resized_size(size: tuple[int, int], resolution: int, fit: Fit) -> tuple[int, int]:
    """Return the (width, height) to which that part of an image is resized.

    It is that of the square, or with "pad" the largest in the square with the proportions of the image, rounded to
    whole pixels, at least one.
    """
    if fit != "pad":
        return resolution, resolution
    width, height = (max(1, (2 * side * resolution + max(size)) // (2 * max(size))) for side in size)
    return width, height


def pad(pixels: NDArray[np.uint8], resolution: int) -> NDArray[np.uint8]:
    """Center an image (h, w, C) in a gray square (resolution, resolution, C); itself if it fills the square.

    Where the bars cannot be equal, the one at the right or at the bottom is a pixel wider.
    """
    height, width, channels = pixels.shape
    if height == width == resolution:
        return pixels
    square = np.full((resolution, resolution, channels), PADDING, dtype=np.uint8)
    top, left = (resolution - height) // 2, (resolution - width) // 2
    square[top : top + height, left : left + width] = pixels
    return square
