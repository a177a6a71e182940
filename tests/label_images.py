"""Images with several labels each: every label brightens its own quadrant."""

from __future__ import annotations

import numpy as np

from shoestring.data.images import Images
from shoestring.data.memory import in_memory

LABELS = ("red", "large", "wings")


def label_arrays(count: int = 80, *, side: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, H, W), and 0 or 1 for each of three labels (N, 3), of which the last one is rare."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, 3)) < [0.5, 0.4, 0.2]).astype(np.int64)
    pixels, half = rng.integers(0, 80, (count, side, side), dtype=np.uint8), side // 2
    for image, row in zip(pixels, labels):
        for index in np.flatnonzero(row):
            top, left = divmod(int(index), 2)
            image[top * half : (top + 1) * half, left * half : (left + 1) * half] += 150
    return pixels, labels


def label_images(count: int = 80, *, side: int = 8, seed: int = 0) -> Images:
    """The same as `Images`."""
    pixels, labels = label_arrays(count, side=side, seed=seed)
    return in_memory(pixels, labels, classes=LABELS, resolution=side, mirrored=False)


def noise_images(count: int = 80, *, side: int = 8) -> Images:
    """Images that do not show their labels."""
    pixels, labels = label_arrays(count, side=side)
    noise = np.random.default_rng(1).integers(0, 80, pixels.shape, dtype=np.uint8)
    return in_memory(noise, labels, classes=LABELS, resolution=side, mirrored=False)
