"""A few real steps before training: which precision is faster here, and how long a step and a prediction take."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from shoestring.data.batches import Batch, on_device
from shoestring.data.images import Images
from shoestring.models.inference import low_precision
from shoestring.models.model import Model
from shoestring.running import evaluating, least_seconds, out_of_memory, to_be_timed, wait

FLOPS_PER_MAC = 6.0  # of a training step: two forward, and twice that backward
_SLOWEST = 1e11  # operations a second that a processor does at least, by and large
_STEPS_TIMED = 8  # about: two of each precision, and predictions
_FEWEST_IMAGES = 16

Precision = str  # "float32", "bfloat16" or "float16"


@dataclass(frozen=True)
class Speed:
    """What one image costs at full resolution, in seconds, and what a step costs besides, however few images it has."""

    precision: Precision
    train: float
    predict: float
    update: float = 0.0

    def step(self, images: int) -> float:
        """Seconds of a step with so many images."""
        return images * self.train + self.update


def calibrate(model: Model, batch: Batch, *, wanted: str, limit: float) -> Speed:
    """Time steps on a copy of the model and choose the faster precision, within about `limit` seconds.

    `wanted` is a precision, or "auto" to compare. Under "auto" a low precision must be at least 5 % faster. Where the
    memory does not hold the batch, half of it is timed.
    """
    try:
        return _calibrated(model, batch, wanted, limit)
    except RuntimeError as error:
        half = len(batch.images) // 2
        if not half or not out_of_memory(error):
            raise
    fewer = Batch(batch.index[:half], batch.images[:half], batch.labels[:half])
    return calibrate(model, fewer, wanted=wanted, limit=limit)


def _calibrated(model: Model, batch: Batch, wanted: str, limit: float) -> Speed:
    device = batch.images.device.type
    candidates = [wanted]
    if wanted == "auto":
        candidates = ["float32", *_low(device)]
    trial = copy.deepcopy(model.module).train()
    ends = time.monotonic() + limit
    speeds = []
    for precision in candidates:
        share = max(ends - time.monotonic(), 0.0) / (len(candidates) - len(speeds))
        step, predict = _step(trial, batch, precision), _predict(trial, batch)
        speeds.append(Speed(precision, least_seconds(step, share * 0.7), least_seconds(predict, share * 0.3)))
    best = speeds[0]
    for other in speeds[1:]:
        if other.train < 0.95 * best.train:
            best = other
    count = len(batch.images)
    return Speed(best.precision, best.train / count, best.predict / count)


def _low(device: str) -> list[Precision]:
    """The low precisions worth timing on a kind of device: CUDA devices without bfloat16 of their own have float16."""
    if device == "mps":
        return []
    if device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return ["float16"]
    return ["bfloat16"]


def images_to_time(macs: float, limit: float, *, most: int, step: int, device: str) -> int:
    """How many images of so many operations to time, so that a slow processor keeps to about `limit` seconds.

    `most` suffice for a processor; accelerators are timed on all images of a `step`, as few leave them idle.
    """
    if not device.startswith("cpu"):
        return step
    fitting = round(limit * _SLOWEST / (_STEPS_TIMED * FLOPS_PER_MAC * macs))
    return min(most, max(fitting, _FEWEST_IMAGES))


def predicting(model: Model, batch: Batch, limit: float) -> float:
    """Seconds that a look at one image takes, within about `limit` seconds."""
    with evaluating(model.module):
        return least_seconds(_predict(model.module, batch), limit) / len(batch.images)


def few_of(model: Model, images: Images, count: int, device: str) -> Batch:
    """The first `count` images, or all of fewer, prepared for the model and with it on the device, to time steps on."""
    model.module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    few = images[np.arange(min(count, len(images)))]
    labels = torch.from_numpy(np.array(few.targets)).to(device)
    return Batch(torch.arange(len(few)), model.prepare(on_device(few.pixels, device)), labels)


def _step(module: torch.nn.Module, batch: Batch, precision: Precision) -> Callable[[], None]:
    def learn() -> None:
        module.zero_grad(set_to_none=True)
        with low_precision(batch.images.device, precision):
            logits = module(batch.images)
        functional.cross_entropy(logits.float(), batch.labels).backward()
        module.zero_grad(set_to_none=True)

    return to_be_timed(learn, batch.images.device)


def _predict(module: torch.nn.Module, batch: Batch) -> Callable[[], None]:
    """Predictions are made in full precision, so that a figure is the same wherever it is computed."""

    @torch.inference_mode()
    def run() -> None:
        module(batch.images)
        wait(batch.images.device)

    return run
