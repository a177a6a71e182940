"""Predictions and features of many images, batch after batch."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shoestring.data.images import Images
from shoestring.models.heads import features_into, last_layer
from shoestring.models.model import Model, Preprocessing
from shoestring.runtime.device import eval_mode, out_of_memory

T = TypeVar("T")

_DOUBT = 0.15  # a lead of the first class over the second below which moved views are predicted too
_MOVES = 2  # moved views: along the diagonal, both ways
_BATCH, _BATCH_ELSEWHERE = 500, 2000  # images of a batch, at most; small ones on an accelerator
_SMALL = 64  # pixels a side
_VALUES = 8_000_000  # values of the inputs, or of the outputs, of a batch at most
_PARTS, _FEWEST = 16, 16  # where time is limited: batches at least, unless they had fewer images than this
_DOUBTFUL = 0.2  # fraction of images in doubt, for a network after a minute (a tenth after five)
_CAUTION = 1.1  # what is still to be predicted is taken to last longer than measured by this


def low_precision(device: torch.device | str, precision: str) -> contextlib.AbstractContextManager[object]:
    """Autocast to "bfloat16" or "float16"; nothing for "float32"."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, dtype=getattr(torch, precision))


def log_probabilities(model: Model, images: Images, *, batch_size: int | None = None) -> NDArray[np.float32]:
    """Log-probabilities (N, classes), in full precision, at the model's temperature, of all the model's views."""
    parts = list(Predictor(model)(images, batch_size=batch_size))
    return np.concatenate(parts) if parts else np.zeros((0, len(model.classes)), dtype=np.float32)


def views(preprocessing: Preprocessing) -> float:
    """Forward passes of a prediction with all views, on average, as far as known before there are any."""
    return _passes(preprocessing, choices(preprocessing)[0], _DOUBTFUL)


def choices(preprocessing: Preprocessing) -> list[str]:
    """The views that a prediction can be made of, by their names in a recipe, most first.

    "one" is the image alone, "flip" its mirror image too, and "crops" also both moved a little along the diagonal, both
    ways, where the views before leave a doubt: those few images gain by it, the others would not change.
    """
    there = {"crops": preprocessing.shift > 0, "flip": preprocessing.mirror, "one": True}
    return [name for name, possible in there.items() if possible]


@dataclass
class Made:
    """How predictions were made: the number of images by the name of their views, and their forward passes in all."""

    views: dict[str, int] = field(default_factory=dict)
    passes: int = 0

    @property
    def images(self) -> int:
        """Images that were predicted."""
        return sum(self.views.values())

    @property
    def passes_per_image(self) -> float | None:
        """Forward passes of a prediction on average; None without images."""
        return self.passes / self.images if self.images else None


class Predictor:
    """Predicts images batch by batch: log-probabilities in full precision, at the model's temperature.

    They are of the mean probability over the model's views (see `choices`). Where time is limited, `left` tells the
    seconds that may still be spent, `coming` how many images are to be predicted in them altogether, and `seconds` what
    a forward pass of an image takes, as far as known. Each batch is then predicted with the most views with which all
    that is still to come fits into the seconds left, at the pace measured so far; with one view if none fit.
    `made` says how the images of the last call were predicted.
    """

    def __init__(
        self,
        model: Model,
        *,
        left: Callable[[], float] | None = None,
        coming: int = 0,
        seconds: float | None = None,
    ) -> None:
        self.model, self.made = model, Made()
        self._left, self._coming, self._seconds = left, coming, seconds
        self._batches, self._tried, self._doubtful = 0, 0, 0

    @property
    def views(self) -> str:
        """The views of a prediction where time does not run short."""
        return choices(self.model.preprocessing)[0]

    def __call__(self, images: Images, *, batch_size: int | None = None) -> Iterator[NDArray[np.float32]]:
        """Log-probabilities (n, classes) of one batch after the other."""
        self.made = Made()
        size = batch_size or _fitting(self.model, images)
        if self._left is not None:
            size = min(size, max(len(images) // _PARTS, _FEWEST))
        began, passes = time.monotonic(), 0
        for found in _in_batches(self.model, images, size, self._predict):
            yield found
            self._coming -= len(found)
            self._note((time.monotonic() - began) / (self.made.passes - passes))
            began, passes = time.monotonic(), self.made.passes

    def _note(self, seconds: float) -> None:
        """Take note of what a forward pass took, with all that was done besides; the first batch is slower."""
        self._batches += 1
        if self._batches == 2 or self._seconds is None:
            self._seconds = seconds
        elif self._batches > 2:
            self._seconds += 0.3 * (seconds - self._seconds)

    def _affordable(self) -> str:
        names = choices(self.model.preprocessing)
        if self._left is None or self._seconds is None:
            return names[0]
        doubtful = self._doubtful / self._tried if self._tried else _DOUBTFUL
        left, price = self._left(), _CAUTION * self._coming * self._seconds
        fitting = [name for name in names if price * _passes(self.model.preprocessing, name, doubtful) <= left]
        return fitting[0] if fitting else names[-1]

    def _predict(self, pixels: Tensor) -> NDArray[np.float32]:
        model, name, count = self.model, self._affordable(), 0
        mirror = model.preprocessing.mirror and name != "one"
        with torch.inference_mode(), eval_mode(model.module):
            batch = model.prepare(pixels)
            mean = _mean(model, [batch], mirror)
            doubtful = _lead(mean) < _DOUBT if name == "crops" else None
            if doubtful is not None and (count := int(doubtful.sum())):
                moved = _mean(model, _moves(batch[doubtful], model.preprocessing.shift), mirror)
                mean[doubtful] = torch.logaddexp(mean[doubtful], moved + math.log(_MOVES)) - math.log(1 + _MOVES)
            scores = (mean / model.temperature).log_softmax(1).cpu().numpy()
        if name == "crops":
            self._tried, self._doubtful = self._tried + len(batch), self._doubtful + count
        self.made.views[name] = self.made.views.get(name, 0) + len(batch)
        self.made.passes += (len(batch) + count * _MOVES) * (1 + mirror)
        return scores


def _passes(preprocessing: Preprocessing, name: str, doubtful: float) -> float:
    """Forward passes of a prediction with these views, when this fraction of the images is in doubt."""
    once = 1 + (preprocessing.mirror and name != "one")
    return once * (1 + doubtful * _MOVES * (name == "crops"))


def _mean(model: Model, batches: list[Tensor], mirror: bool) -> Tensor:
    """Log of the mean probability over views of the same images, and over their mirror images."""
    if mirror:
        batches = [view for batch in batches for view in (batch, batch.flip(-1))]
    total = model.module(batches[0]).float().log_softmax(1)
    for batch in batches[1:]:
        total = torch.logaddexp(total, model.module(batch).float().log_softmax(1))
    return total - math.log(len(batches))


def _lead(log_probabilities: Tensor) -> Tensor:
    """Probability (N,) of the first class less that of the second; infinite where there is only one class."""
    if log_probabilities.shape[1] < 2:
        return torch.full((len(log_probabilities),), torch.inf, device=log_probabilities.device)
    first, second = log_probabilities.topk(2).values.exp().unbind(1)
    return first - second


def _moves(batch: Tensor, shift: int) -> list[Tensor]:
    """The images moved by `shift` pixels along the falling diagonal, one way and the other, edges reflected."""
    padded = nn.functional.pad(batch, [shift] * 4, mode="reflect")
    height, width = batch.shape[2:]
    return [padded[:, :, start : start + height, start : start + width] for start in (0, 2 * shift)]


def embed(
    model: Model,
    images: Images,
    *,
    precision: str = "float32",
    batch_size: int | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """In one pass, what the last layer sees (N, D), scaled to unit length, and the logits (N, classes).

    `progress` receives the fraction of the images that have been seen.
    """
    seen: list[Tensor] = []
    last = last_layer(model.module, model.heads)
    hook = last.register_forward_pre_hook(lambda layer, inputs: seen.append(features_into(layer, inputs).cpu()))

    def work(pixels: Tensor) -> tuple[Tensor, Tensor]:
        seen.clear()
        logits = model.module(model.prepare(pixels)).float().cpu()
        return seen[-1], logits

    device = next(model.module.parameters()).device
    try:
        with torch.inference_mode(), eval_mode(model.module), low_precision(device, precision):
            parts = _in_batches(model, images, batch_size or _fitting(model, images), work, progress)
            features, logits = map(torch.cat, zip(*parts))
    finally:
        hook.remove()
    return nn.functional.normalize(features).numpy(), logits.numpy()


def _fitting(model: Model, images: Images) -> int:
    """Images of a batch: fewer of large images, of many classes, and on processors."""
    size, (height, width, channels) = model.preprocessing, images.shape
    values = max(height * width * channels, size.resolution**2 * size.channels, len(model.classes))
    on_accelerator = next(model.module.parameters()).device.type != "cpu"
    most = _BATCH_ELSEWHERE if on_accelerator and size.resolution <= _SMALL else _BATCH
    return max(1, min(most, _VALUES // values))


def _in_batches(
    model: Model,
    images: Images,
    size: int,
    work: Callable[[Tensor], T],
    progress: Callable[[float], None] = lambda fraction: None,
) -> Iterator[T]:
    """What `work` makes of the pixels of all images on the model's device, in batches that fit into the memory."""
    device, start = next(model.module.parameters()).device, 0
    while start < len(images):
        pixels = torch.from_numpy(images[start : start + size].pixels)
        try:
            found = work(pixels.to(device))
        except RuntimeError as error:
            if size == 1 or not out_of_memory(error):
                raise
            size //= 2
            continue
        yield found
        start += len(pixels)
        progress(start / len(images))
