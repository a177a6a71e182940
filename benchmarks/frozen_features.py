"""What a frozen ImageNet network sees in images: computed once, kept as .npy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoestring.data.images import Images
from shoestring.runtime.files import atomic_write

SIDE = 96
TOGETHER = 100


def cached(file: Path, make: Callable[[], NDArray]) -> NDArray:
    """The array in the file, made and written there when it is not."""
    if not file.exists():
        with atomic_write(file) as temporary, temporary.open("wb") as out:
            np.save(out, make())
    return np.load(file)


def features(images: Images, weights: Path, cache: Path) -> NDArray[np.float32]:
    """(N, 1280) of unit length, by MobileNetV2 with these weights, from images scaled to 96 pixels."""
    file = cache / f"{weights.stem}-{SIDE}-{images.fingerprint[:8]}.npy"
    return cached(file, lambda: _computed(images, weights))


def _computed(images: Images, weights: Path) -> NDArray[np.float32]:
    import timm
    import torch
    from safetensors.torch import load_file
    from torch.nn.functional import interpolate, normalize

    network = timm.create_model("mobilenetv2_100", pad_type="same", num_classes=1001)
    network.load_state_dict(load_file(weights))
    network.eval().to(memory_format=torch.channels_last)
    found = []
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        for start in range(0, len(images), TOGETHER):
            pixels = torch.from_numpy(images[start : start + TOGETHER].pixels).permute(0, 3, 1, 2).float()
            colours = pixels.expand(-1, 3, -1, -1) / 127.5 - 1  # of grey images too
            batch = interpolate(colours, size=(SIDE, SIDE), mode="bicubic", align_corners=False)
            seen = network.forward_head(network.forward_features(batch), pre_logits=True)
            found.append(normalize(seen.float()))
    return torch.cat(found).numpy()
