"""A few real steps before training: which precision is faster here, and how long a step and a prediction take."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from torch.nn import functional

from shoestring.data.batches import Batch, on_device
from shoestring.data.images import Images
from shoestring.models.inference import autocast
from shoestring.models.model import Model
from shoestring.runtime.cuda_graph import synchronous
from shoestring.runtime.device import eval_mode, out_of_memory, safe_convolutions, synchronize
from shoestring.runtime.threads import candidates, set_threads
from shoestring.runtime.timing import time_calls

FLOPS_PER_MAC = 6.0  # of a training step: two forward, and twice that backward
_SLOWEST = 2e10  # operations a second that a processor does at least, by and large
_STEPS_TIMED = 8  # about: two of each precision, and predictions
_FEWEST_IMAGES = 16
_CROWDED = 1.25  # seconds per processor second of one thread from which other processes are taken to run, too
_GAIN = 0.95  # a lower precision, or more threads, are taken when a step takes this fraction of the time at most
_PROBE = 384  # rows and columns of the matrices by which bfloat16 is tried

Precision = str  # "float32", "bfloat16" or "float16"


@dataclass(frozen=True)
class Speed:
    """What one image costs at full resolution, in seconds, and what a step costs besides, however few images it has.

    These are the seconds of a machine with nothing else running. `crowded` says that something else was running: they
    are then the processor seconds of one thread, and with all threads and an idle machine it may be less.
    """

    precision: Precision
    train: float
    predict: float
    update: float = 0.0
    crowded: bool = False

    def step(self, images: int) -> float:
        """Seconds of a step with so many images."""
        return images * self.train + self.update


def calibrate(model: Model, batch: Batch, *, wanted: str, limit: float, threads: int | None = None) -> Speed:
    """Time steps on a copy of the model and choose the faster precision, within about `limit` seconds.

    `wanted` is a precision, or "auto" to compare. Under "auto" a low precision must be at least 5 % faster. With
    `threads`, the most there may be, their number is chosen, too, and PyTorch set to it. Where the
    memory does not hold the batch, half of it is timed.
    """
    try:
        return _calibrated(model, batch, wanted, limit, threads)
    except RuntimeError as error:
        half = len(batch.images) // 2
        if not half or not out_of_memory(error):
            raise
    fewer = Batch(batch.index[:half], batch.images[:half], batch.labels[:half])
    return calibrate(model, fewer, wanted=wanted, limit=limit, threads=threads)


def _calibrated(model: Model, batch: Batch, wanted: str, limit: float, threads: int | None) -> Speed:
    device, count = batch.images.device.type, len(batch.images)
    candidates = [wanted]
    if wanted == "auto":
        candidates = ["float32", *_low(device)]
    trial = copy.deepcopy(model.module).train()
    alone = device == "cpu" and threads is not None
    if alone:
        set_threads(1)  # a thread that waits for others is busy, too: processor seconds of one tell what the work takes
    share = limit / (len(candidates) + 1)
    steps = {name: time_calls(_step(trial, batch, name), 0.7 * share) for name in candidates}
    seconds = {name: timing.cpu_seconds if alone else timing.seconds for name, timing in steps.items()}
    best = candidates[0]
    for other in candidates[1:]:
        if seconds[other] < _GAIN * seconds[best]:
            best = other
    predict = time_calls(_predict(trial, batch), 0.3 * limit)
    crowded = alone and (steps[best].contention > _CROWDED or predict.contention > _CROWDED)
    train, look = seconds[best], predict.cpu_seconds if alone else predict.seconds
    if alone and threads is not None and threads > 1 and not crowded:
        faster = _with_threads(_step(trial, batch, best), threads, train, 0.7 * share)
        train, look = faster, look * faster / train
    return Speed(best, train / count, look / count, crowded=crowded)


def _with_threads(step: Callable[[], None], most: int, alone: float, limit: float) -> float:
    """The least seconds of a step, with the number of threads that it takes; PyTorch is set to that number."""
    best, count = alone, 1
    for more in candidates(most)[:-1]:
        set_threads(more)
        seconds = time_calls(step, limit).seconds
        if seconds < (_GAIN if count == 1 else 1.0) * best:
            best, count = seconds, more
        elif count > 1:  # of too many, half may still help: a container may hold fewer processors than it shows
            break
    set_threads(count)
    return best


def _low(device: str) -> list[Precision]:
    """The low precisions worth timing on a kind of device: CUDA devices without bfloat16 of their own have float16."""
    if device == "mps" or (device == "cpu" and not _multiplies_bfloat16()):
        return []
    if device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return ["float16"]
    return ["bfloat16"]


@lru_cache(maxsize=1)
def _multiplies_bfloat16() -> bool:
    """Whether this processor multiplies in bfloat16 faster than in float32: elsewhere a step takes 30 times as long."""
    matrices = [torch.ones(_PROBE, _PROBE, dtype=kind) for kind in (torch.float32, torch.bfloat16)]
    plain, low = (time_calls(partial(_square, matrix), 0.01).cpu_seconds for matrix in matrices)
    return low < plain


def _square(matrix: torch.Tensor) -> None:
    torch.mm(matrix, matrix)


def images_to_time(macs: float, limit: float, *, most: int, step: int, device: str, least: int = _FEWEST_IMAGES) -> int:
    """How many images of so many operations to time, so that a slow processor keeps to about `limit` seconds.

    `most` suffice for a processor; accelerators are timed on all images of a `step`, as few leave them idle.
    """
    if not device.startswith("cpu"):
        return step
    fitting = round(limit * _SLOWEST / (_STEPS_TIMED * FLOPS_PER_MAC * macs))
    return min(most, max(fitting, least))


def predicting(model: Model, batch: Batch, limit: float) -> float:
    """Seconds that a prediction of one image takes on an idle machine, measured within about `limit` seconds."""
    with eval_mode(model.module):
        timing = time_calls(_predict(model.module, batch), limit)
    if batch.images.device.type != "cpu":
        return timing.seconds / len(batch.images)
    return min(timing.seconds, timing.cpu_seconds) / len(batch.images)


def few_of(model: Model, images: Images, count: int, device: str) -> Batch:
    """The first `count` images, or all of fewer, prepared for the model and with it on the device, to time steps on."""
    model.module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    few = images[np.arange(min(count, len(images)))]
    labels = torch.from_numpy(np.array(few.targets)).to(device)
    return Batch(torch.arange(len(few)), model.prepare(on_device(few.pixels, device)), labels)


def _step(module: torch.nn.Module, batch: Batch, precision: Precision) -> Callable[[], None]:
    def learn() -> None:
        module.zero_grad(set_to_none=True)
        with safe_convolutions(module, batch.images.device):
            with autocast(batch.images.device, precision):
                logits = module(batch.images)
            functional.cross_entropy(logits.float(), batch.labels).backward()
        module.zero_grad(set_to_none=True)

    return synchronous(learn, batch.images.device)


def _predict(module: torch.nn.Module, batch: Batch) -> Callable[[], None]:
    """Predictions are made in full precision, so that a figure is the same wherever it is computed."""

    @torch.inference_mode()
    def run() -> None:
        module(batch.images)
        synchronize(batch.images.device)

    return run
