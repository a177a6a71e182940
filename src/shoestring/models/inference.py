"""Batched predictions, with test-time augmentation (TTA) as the time allows, and embeddings."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from shoestring.data.images import Images
from shoestring.models.folding import folded
from shoestring.models.head_modules import class_scores
from shoestring.models.heads import head_inputs, head_module
from shoestring.models.model import Model
from shoestring.models.tta import (
    AMBIGUOUS_FRACTION,
    SHIFTS,
    is_ambiguous,
    mean_log_probabilities,
    passes_per_prediction,
    shifted,
    tta_modes,
)
from shoestring.runtime.device import eval_mode, out_of_memory

T = TypeVar("T")

_MAX_BATCH, _MAX_BATCH_SMALL = 500, 2000  # images per batch; the latter for small images on an accelerator
_SMALL_SIDE = 64  # pixels
_MAX_VALUES = 8_000_000  # of the inputs, or of the outputs, of a batch
_CACHED_VALUES = 200_000  # of the inputs of a batch, for each thread of a CPU: then most activations stay in its cache
_MIN_CPU_BATCH = 16  # images
_MIN_BATCHES, _MIN_BATCH = 16, 16  # if time is limited: at least so many batches, unless of fewer images than this
MIN_FOLDED = 256  # images for which batch norms are folded
_SAFETY = 1.1  # factor on the predicted time of the remaining predictions


def autocast(device: torch.device | str, precision: str) -> contextlib.AbstractContextManager[object]:
    """Autocast to "bfloat16" or "float16"; does nothing for "float32"."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, dtype=getattr(torch, precision))


def log_probabilities(model: Model, images: Images, *, batch_size: int | None = None) -> NDArray[np.float32]:
    """Return log-probabilities (N, classes) in full precision, at the model's temperature, with its full TTA."""
    parts = list(Predictor(model)(images, batch_size=batch_size))
    scores = np.concatenate(parts) if parts else np.zeros((0, len(model.classes)), dtype=np.float32)
    return model.task.log_probabilities(scores)


@dataclass
class PredictionStats:
    """How images were predicted: their number by TTA mode, and forward passes in total."""

    images_by_tta: dict[str, int] = field(default_factory=dict)
    passes: int = 0

    @property
    def images(self) -> int:
        """Number of images that were predicted."""
        return sum(self.images_by_tta.values())

    @property
    def passes_per_image(self) -> float | None:
        """Mean number of forward passes per prediction; None without images."""
        return self.passes / self.images if self.images else None


class Predictor:
    """Predict images batch by batch: scores in full precision, at the model's temperature, with TTA.

    Scores are log-probabilities of classes, or log-odds of labels, as the task of the model says.

    If time is limited, `remaining` returns the seconds that may still be spent, `pending` is the number of images to
    predict in that time, over all calls, and `seconds_per_pass` the time of one image's forward pass if known. Each
    batch then uses the most expensive TTA mode with which all pending images fit into the remaining time at the speed
    measured so far, or "none" if none fits. `stats` describes the images of the last call.
    """

    def __init__(
        self,
        model: Model,
        *,
        remaining: Callable[[], float] | None = None,
        pending: int = 0,
        seconds_per_pass: float | None = None,
    ) -> None:
        self.model, self.stats = model, PredictionStats()
        self._remaining, self._pending, self._seconds_per_pass = remaining, pending, seconds_per_pass
        self._batches, self._tested, self._ambiguous = 0, 0, 0

    @property
    def tta(self) -> str:
        """TTA mode if there is enough time."""
        return tta_modes(self.model.preprocessing)[0]

    def __call__(self, images: Images, *, batch_size: int | None = None) -> Iterator[NDArray[np.float32]]:
        """Yield scores (n, classes), batch by batch."""
        self.stats = PredictionStats()
        size = batch_size or default_batch_size(self.model, images.shape)
        if self._remaining is not None:
            size = min(size, max(len(images) // _MIN_BATCHES, _MIN_BATCH))
        start, passes = time.monotonic(), 0
        model = _faster(self.model, images)
        for scores in _map_batches(model, images, size, partial(self._predict, model)):
            yield scores
            self._pending -= len(scores)
            self._update_seconds_per_pass((time.monotonic() - start) / (self.stats.passes - passes))
            start, passes = time.monotonic(), self.stats.passes

    def _update_seconds_per_pass(self, seconds: float) -> None:
        """Update the time per forward pass, overhead included; the first batch, which is slower, is replaced."""
        self._batches += 1
        if self._batches == 2 or self._seconds_per_pass is None:
            self._seconds_per_pass = seconds
        elif self._batches > 2:
            self._seconds_per_pass += 0.3 * (seconds - self._seconds_per_pass)

    def _affordable_mode(self) -> str:
        modes = tta_modes(self.model.preprocessing)
        if self._remaining is None or self._seconds_per_pass is None:
            return modes[0]
        ambiguous = self._ambiguous / self._tested if self._tested else AMBIGUOUS_FRACTION
        remaining, seconds = self._remaining(), _SAFETY * self._pending * self._seconds_per_pass
        for mode in modes:
            if seconds * passes_per_prediction(self.model.preprocessing, mode, ambiguous) <= remaining:
                return mode
        return modes[-1]

    def _predict(self, model: Model, pixels: Tensor) -> NDArray[np.float32]:
        mode, count = self._affordable_mode(), 0
        mirror = model.preprocessing.mirror and mode != "none"
        with torch.inference_mode(), eval_mode(model.module):
            batch = model.prepare(pixels)
            mean = mean_log_probabilities(model.module, [batch], mirror, model.task)
            ambiguous = is_ambiguous(mean) if mode == "crops" else None
            if ambiguous is not None and (count := int(ambiguous.sum())):
                copies = shifted(batch[ambiguous], model.preprocessing.shift)
                shifted_mean = mean_log_probabilities(model.module, copies, mirror, model.task)
                total = torch.logaddexp(mean[ambiguous], shifted_mean + math.log(SHIFTS))
                mean[ambiguous] = total - math.log(1 + SHIFTS)
            scores = model.task.scores((mean / model.temperature).log_softmax(1)).cpu().numpy()
        if mode == "crops":
            self._tested, self._ambiguous = self._tested + len(batch), self._ambiguous + count
        self.stats.images_by_tta[mode] = self.stats.images_by_tta.get(mode, 0) + len(batch)
        self.stats.passes += (len(batch) + count * SHIFTS) * (1 + mirror)
        return scores


def embed(
    model: Model,
    images: Images,
    *,
    precision: str = "float32",
    batch_size: int | None = None,
    normalize: bool = True,
    progress: Callable[[float], None] = lambda fraction: None,
    stop: Callable[[int], bool] = lambda done: False,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return features (N, D), the inputs of the head scaled to unit length, and logits (N, classes).

    Without `normalize`, features keep their length. Both come from a single forward pass. `progress` is called with the
    fraction of the images that are done. `stop` is called after each batch with the number of images that
    are done: if it returns true, the rows are those of these images only.
    """
    model, captured = _faster(model, images), list[Tensor]()
    head = head_module(model.module, model.heads)
    hook = head.register_forward_pre_hook(lambda layer, inputs: captured.append(head_inputs(layer, inputs).cpu()))

    def forward(pixels: Tensor) -> tuple[Tensor, Tensor]:
        captured.clear()
        logits = class_scores(model.module(model.prepare(pixels))).float().cpu()
        return captured[-1], logits

    device = next(model.module.parameters()).device
    size = batch_size or default_batch_size(model, images.shape)
    try:
        with torch.inference_mode(), eval_mode(model.module), autocast(device, precision):
            parts = list[tuple[Tensor, Tensor]]()
            for part in _map_batches(model, images, size, forward, progress):
                parts.append(part)
                if stop(sum(len(logits) for _, logits in parts)):
                    break
            features, logits = map(torch.cat, zip(*parts))
    finally:
        hook.remove()
    return (functional.normalize(features) if normalize else features).numpy(), logits.numpy()


def _faster(model: Model, images: Images) -> Model:
    """The model to predict these images with: batch norms are folded if there are many."""
    return folded(model) if len(images) >= MIN_FOLDED else model


def default_batch_size(model: Model, shape: tuple[int, int, int] | None = None) -> int:
    """Return a batch size for images (H, W, C), by default those of the network's inputs.

    It is smaller for large images, for many classes, and on a CPU, where activations should stay in its cache.
    """
    inputs = model.preprocessing
    input_values = inputs.resolution**2 * inputs.channels
    values = max(math.prod(shape or ()), input_values, len(model.classes))
    if next(model.module.parameters()).device.type == "cpu":
        highest = min(_MAX_BATCH, max(_MIN_CPU_BATCH, _CACHED_VALUES * torch.get_num_threads() // input_values))
    else:
        highest = _MAX_BATCH_SMALL if inputs.resolution <= _SMALL_SIDE else _MAX_BATCH
    return max(1, min(highest, _MAX_VALUES // values))


def _map_batches(
    model: Model,
    images: Images,
    size: int,
    function: Callable[[Tensor], T],
    progress: Callable[[float], None] = lambda fraction: None,
) -> Iterator[T]:
    """Yield `function(pixels)` of batches on the model's device, with half the batch size whenever memory runs out."""
    device, start = next(model.module.parameters()).device, 0
    while start < len(images):
        pixels = torch.from_numpy(images[start : start + size].pixels)
        try:
            result = function(pixels.to(device))
        except RuntimeError as error:
            if size == 1 or not out_of_memory(error):
                raise
            size //= 2
            continue
        yield result
        start += len(pixels)
        progress(start / len(images))
