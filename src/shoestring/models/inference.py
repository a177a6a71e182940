"""Predictions and features of many images, batch after batch."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shoestring.data.images import Images
from shoestring.models.model import Model, Preprocessing
from shoestring.running import evaluating, out_of_memory

T = TypeVar("T")

_DOUBT = 0.15  # a lead of the first class over the second below which further views are looked at
_MOVES = 3  # the image as it is, and moved both ways
_TOGETHER, _TOGETHER_ELSEWHERE = 500, 2000  # images that are looked at together; small ones on an accelerator
_SMALL = 64  # pixels a side
_DOUBTFUL = 0.2  # share of images that this is true of, for a network after a minute (a tenth after five)


def low_precision(device: torch.device | str, precision: str) -> contextlib.AbstractContextManager[object]:
    """Autocast to "bfloat16" or "float16"; nothing for "float32"."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, dtype=getattr(torch, precision))


def log_probabilities(model: Model, images: Images, *, batch_size: int | None = None) -> NDArray[np.float32]:
    """Log-probabilities (N, classes), in full precision, at the model's temperature.

    Where the model's preprocessing says so, they are of the mean probability of the image and its mirror image, and
    of both moved a little where the first two leave a doubt: those few gain by it, the rest would not change.
    """
    shift = model.preprocessing.shift

    def work(pixels: Tensor) -> Tensor:
        batch = model.prepare(pixels)
        mean = _mean(model, [batch])
        doubtful = _margin(mean) < _DOUBT
        if shift and doubtful.any():
            mean[doubtful] = _mean(model, _moved(batch[doubtful], shift))
        return (mean / model.temperature).log_softmax(1).cpu()

    with torch.inference_mode(), evaluating(model.module):
        return torch.cat(_in_chunks(model, images, batch_size, work)).numpy()


def views(preprocessing: Preprocessing) -> float:
    """How many images a prediction looks at, on average."""
    return (1 + preprocessing.mirror) * (1 + _DOUBTFUL * _MOVES * (preprocessing.shift > 0))


def _mean(model: Model, batches: list[Tensor]) -> Tensor:
    """Log of the mean probability over views of the same images, and over their mirror images."""
    if model.preprocessing.mirror:
        batches = [view for batch in batches for view in (batch, batch.flip(-1))]
    each = torch.stack([model.module(batch).float().log_softmax(1) for batch in batches])
    return each.logsumexp(0) - math.log(len(batches))


def _margin(log_probabilities: Tensor) -> Tensor:
    """Probability (N,) of the first class less that of the second."""
    first, second = log_probabilities.topk(2).values.exp().unbind(1)
    return first - second


def _moved(batch: Tensor, shift: int) -> list[Tensor]:
    """The images, and both moves by `shift` pixels along the falling diagonal, edges reflected."""
    padded = nn.functional.pad(batch, [shift] * 4, mode="reflect")
    height, width = batch.shape[2:]
    starts = (0, shift, 2 * shift)
    return [padded[:, :, start : start + height, start : start + width] for start in starts]


def last_layer(module: nn.Module) -> nn.Linear:
    """The linear layer that makes the logits."""
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]


def embed(
    model: Model,
    images: Images,
    *,
    precision: str = "float32",
    batch_size: int | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """In one pass, what the last linear layer sees (N, D), scaled to unit length, and the logits (N, classes).

    `progress` is told the share of the images that have been seen.
    """
    seen: list[Tensor] = []
    last = last_layer(model.module)
    hook = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(1).float().cpu()))

    def work(pixels: Tensor) -> tuple[Tensor, Tensor]:
        seen.clear()
        logits = model.module(model.prepare(pixels)).float().cpu()
        return seen[-1], logits

    device = next(model.module.parameters()).device
    try:
        with torch.inference_mode(), evaluating(model.module), low_precision(device, precision):
            features, logits = map(torch.cat, zip(*_in_chunks(model, images, batch_size, work, progress)))
    finally:
        hook.remove()
    return nn.functional.normalize(features).numpy(), logits.numpy()


def _in_chunks(
    model: Model,
    images: Images,
    size: int | None,
    work: Callable[[Tensor], T],
    progress: Callable[[float], None] = lambda share: None,
) -> list[T]:
    """What `work` makes of the pixels of all images on the model's device, in chunks that fit into the memory."""
    device, found, start = next(model.module.parameters()).device, [], 0
    many = device.type != "cpu" and model.preprocessing.resolution <= _SMALL
    size = size or (_TOGETHER_ELSEWHERE if many else _TOGETHER)
    while start < len(images):
        pixels = torch.from_numpy(images[start : start + size].pixels)
        try:
            found.append(work(pixels.to(device)))
        except RuntimeError as error:
            if size == 1 or not out_of_memory(error):
                raise
            size //= 2
        else:
            start += len(pixels)
            progress(start / len(images))
    return found
