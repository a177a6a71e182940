"""Predictions and features of many images, batch after batch."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shoestring.data.images import Images
from shoestring.models.layers import evaluating
from shoestring.models.model import Model


def low_precision(device: torch.device | str, precision: str) -> contextlib.AbstractContextManager[object]:
    """Autocast to "bfloat16"; nothing for "float32"."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, dtype=getattr(torch, precision))


def log_probabilities(model: Model, images: Images, *, batch_size: int = 500) -> NDArray[np.float32]:
    """Log-probabilities (N, classes), in full precision, at the model's temperature.

    Where the model's preprocessing says so, they are of the mean probability of the image and its mirror image.
    """
    device = next(model.module.parameters()).device
    found = []
    with torch.inference_mode(), evaluating(model.module):
        for pixels in _chunks(images, batch_size, device):
            batch = model.prepare(pixels)
            views = [batch, batch.flip(-1)] if model.preprocessing.mirror else [batch]
            each = torch.stack([model.module(view).float().log_softmax(1) for view in views])
            mean = each.logsumexp(0) - math.log(len(views))
            found.append((mean / model.temperature).log_softmax(1).cpu())
    return torch.cat(found).numpy()


def embed(
    model: Model, images: Images, *, precision: str = "float32", batch_size: int = 500
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """In one pass, what the last linear layer sees (N, D), scaled to unit length, and the logits (N, classes)."""
    last = [layer for layer in model.module.modules() if isinstance(layer, nn.Linear)][-1]
    device = next(model.module.parameters()).device
    seen: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(1).float().cpu()))
    try:
        with torch.inference_mode(), evaluating(model.module), low_precision(device, precision):
            chunks = _chunks(images, batch_size, device)
            logits = [model.module(model.prepare(pixels)).float().cpu() for pixels in chunks]
    finally:
        hook.remove()
    return nn.functional.normalize(torch.cat(seen)).numpy(), torch.cat(logits).numpy()


def _chunks(images: Images, size: int, device: torch.device) -> Iterator[Tensor]:
    for start in range(0, len(images), size):
        yield torch.from_numpy(np.array(images.pixels[start : start + size])).to(device)
