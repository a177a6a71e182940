"""Features of a frozen ImageNet network, computed once and cached as .npy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoestring.data.images import Images
from shoestring.runtime.files import atomic_write

SIDE = 96
BATCH_SIZE = 100


def cached(file: Path, compute: Callable[[], NDArray]) -> NDArray:
    """Return the array in the file; compute and save it if missing."""
    if not file.exists():
        with atomic_write(file) as temporary, temporary.open("wb") as out:
            np.save(out, compute())
    return np.load(file)


def features(images: Images, weights: Path, cache: Path) -> NDArray[np.float32]:
    """Return features (N, 1280) of unit length from MobileNetV2 with these weights, at 96 x 96 pixels."""
    file = cache / f"{weights.stem}-{SIDE}-{images.fingerprint[:8]}.npy"
    return cached(file, lambda: _compute(images, weights))


def _compute(images: Images, weights: Path) -> NDArray[np.float32]:
    import timm
    import torch
    from safetensors.torch import load_file
    from torch.nn.functional import interpolate, normalize

    network = timm.create_model("mobilenetv2_100", pad_type="same", num_classes=1001)
    network.load_state_dict(load_file(weights))
    network.eval().to(memory_format=torch.channels_last)
    parts = []
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        for start in range(0, len(images), BATCH_SIZE):
            pixels = torch.from_numpy(images[start : start + BATCH_SIZE].pixels).permute(0, 3, 1, 2).float()
            colors = pixels.expand(-1, 3, -1, -1) / 127.5 - 1  # also for grayscale images
            batch = interpolate(colors, size=(SIDE, SIDE), mode="bicubic", align_corners=False)
            embeddings = network.forward_head(network.forward_features(batch), pre_logits=True)
            parts.append(normalize(embeddings.float()))
    return torch.cat(parts).numpy()
