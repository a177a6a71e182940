"""Profiling: the fastest precision and number of threads, and the times of a training step and a prediction."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from shoestring.budget import Budget
from shoestring.config.plan import TRAINING_FLOPS_PER_MAC, StepTimes
from shoestring.config.recipe import Train
from shoestring.data.batches import Batch, on_device
from shoestring.data.images import Images
from shoestring.evaluation.cost import count_macs
from shoestring.models.folding import folded
from shoestring.models.frozen_norms import FrozenNorms, freeze_norms
from shoestring.models.head_modules import class_scores
from shoestring.models.inference import autocast, default_batch_size
from shoestring.models.model import Model
from shoestring.planning.optimizer import choose_optimizer
from shoestring.planning.pretrained import is_pretrained
from shoestring.runtime.context import Context
from shoestring.runtime.cuda_graph import synchronous
from shoestring.runtime.device import eval_mode, out_of_memory, safe_convolutions, synchronize
from shoestring.runtime.precision import Precision, low_precisions
from shoestring.runtime.threads import candidates, set_threads
from shoestring.runtime.timing import time_calls
from shoestring.training.optimizer import update_seconds

_LIMIT = 0.02  # fraction of a time budget for profiling one network
_SLOW = 2e10  # FLOPs per second that nearly every CPU reaches
_STEPS_TIMED = 8  # approximately: two in each precision, and predictions
_MIN_IMAGES, _MAX_IMAGES = 16, 128
_CROWDED = 1.25  # ratio of wall-clock to CPU seconds of one thread above which other processes are assumed to run
_GAIN = 0.95  # maximum relative time with lower precision or more threads, for these to be used


@dataclass(frozen=True)
class Profile:
    """The fastest precision of a network, its times in it, and the number of threads (None if it was not tuned)."""

    precision: Precision
    times: StepTimes
    threads: int | None = None


class Profiler:
    """Profile networks, each only once.

    If the budget counts epochs or FLOPs, nothing is timed, so that runs are reproducible: the precision "auto" is
    float32 then, and all times are zero.
    """

    def __init__(self, budget: Budget, context: Context) -> None:
        self.budget, self.context = budget, context
        self._profiles: dict[tuple[object, ...], dict[int, Profile]] = {}  # by network and resolution
        self._networks: dict[Hashable, Model] = {}

    def __call__(
        self, model: Model, images: Images, settings: Train, *, batch_size: int, again: bool = False
    ) -> Profile:
        """Return the profile of a model for training with these settings and this batch size on images like these.

        Times are divided by the number of processes that train together. A pretrained network is measured at one
        resolution. With `again` an existing profile is measured again, and the shorter times are used: other processes
        may have ended.
        """
        precision = settings.precision
        if self.budget.unit != "seconds":
            return Profile("float32" if precision == "auto" else precision, StepTimes())
        side = model.preprocessing.resolution
        profiles = self._profiles.setdefault((model.name, str(model.options), precision, settings.optimizer), {})
        if side not in profiles and profiles and is_pretrained(settings):
            return _at_side(*next(iter(profiles.items())), side)
        if side not in profiles:
            profiles[side] = self._measure(model, images, settings, batch_size)
        elif again:
            profiles[side] = _faster(profiles[side], self._measure(model, images, settings, batch_size))
        return profiles[side]

    def built(self, key: Hashable, build: Callable[[], Model]) -> Model:
        """Return the network of this key, built on first use. It must not be trained, as others use it too."""
        if key not in self._networks:
            self._networks[key] = build()
        return self._networks[key]

    def _measure(self, model: Model, images: Images, settings: Train, batch_size: int) -> Profile:
        context, limit = self.context, _LIMIT * self.budget.total
        processes = context.rank_and_size[1]
        step = max(batch_size // processes, 1)
        count = images_to_time(count_macs(model), limit, most=_MAX_IMAGES, step=step, device=context.device)
        batch = first_batch(model, images, min(count, batch_size), context.device)
        how = {"limit": limit, "threads": context.threads, "fine_tuned": is_pretrained(settings)}
        result = profile(model, batch, precision=settings.precision, **how)
        update = update_seconds(model, choose_optimizer(model, settings))
        times = replace(result.times, train=result.times.train / processes, update=update)
        return replace(result, times=times)


def _at_side(measured: int, profile: Profile, side: int) -> Profile:
    """The profile of a network at another side of its input: images take a time proportional to their area."""
    factor = (side / measured) ** 2
    times = profile.times
    return replace(profile, times=replace(times, train=factor * times.train, predict=factor * times.predict))


def _faster(one: Profile, other: Profile) -> Profile:
    return min(one, other, key=lambda profile: profile.times.train)


def profile(
    model: Model, batch: Batch, *, precision: str, limit: float, threads: int | None = None, fine_tuned: bool = False
) -> Profile:
    """Time steps on a copy of the model and return the profile in the fastest precision, within about `limit` seconds.

    `precision` is a precision, or "auto" to compare them: a lower one must be at least 5 % faster. With `threads`, the
    maximum, the number of threads is tuned as well, and set in PyTorch. `fine_tuned` steps keep batch norms frozen. If
    memory runs out, half of the batch is timed.
    """
    try:
        return _profile(model, batch, precision, limit, threads, fine_tuned)
    except RuntimeError as error:
        half = len(batch.images) // 2
        if not half or not out_of_memory(error):
            raise
    smaller = Batch(batch.index[:half], batch.images[:half], batch.labels[:half])
    return profile(model, smaller, precision=precision, limit=limit, threads=threads, fine_tuned=fine_tuned)


def _profile(
    model: Model, batch: Batch, precision: str, limit: float, threads: int | None, fine_tuned: bool
) -> Profile:
    device, count = batch.images.device.type, len(batch.images)
    precisions = [precision] if precision != "auto" else ["float32", *low_precisions(device)]
    trial = replace(model, module=copy.deepcopy(model.module).train())
    norms = FrozenNorms(trial) if fine_tuned else None
    if fine_tuned:
        freeze_norms(trial.module)
    tuned = device == "cpu" and threads is not None
    if tuned:
        set_threads(1)  # waiting threads use CPU time too, so only that of a single thread measures the work
    per_precision = limit / (len(precisions) + 1)
    step = partial(_step, trial, batch, norms)
    steps = {name: time_calls(step(name), 0.7 * per_precision) for name in precisions}
    seconds = {name: timing.cpu_seconds if tuned else timing.seconds for name, timing in steps.items()}
    best = precisions[0]
    for other in precisions[1:]:
        if seconds[other] < _GAIN * seconds[best]:
            best = other
    prediction = time_calls(_predict(folded(model), batch), 0.3 * limit)
    crowded = tuned and (steps[best].contention > _CROWDED or prediction.contention > _CROWDED)
    train, predict = seconds[best], prediction.cpu_seconds if tuned else prediction.seconds
    if tuned and threads is not None and threads > 1 and not crowded:
        tuned_train = _tune_threads(step(best), threads, train, 0.7 * per_precision)
        train, predict = tuned_train, predict * tuned_train / train
    used = torch.get_num_threads() if tuned else None
    return Profile(best, StepTimes(train / count, predict / count, crowded=crowded), used)


def _tune_threads(step: Callable[[], None], most: int, single: float, limit: float) -> float:
    """Set the fastest number of threads, at most `most`; return the seconds of a step with it.

    With a single thread a step takes `single` seconds.
    """
    best, best_count = single, 1
    for count in candidates(most)[:-1]:
        set_threads(count)
        seconds = time_calls(step, limit).seconds
        if seconds < (_GAIN if best_count == 1 else 1.0) * best:
            best, best_count = seconds, count
        elif best_count > 1:  # before that, fewer may still be faster: a container may have fewer CPUs than reported
            break
    set_threads(best_count)
    return best


def images_to_time(macs: float, limit: float, *, most: int, step: int, device: str, least: int = _MIN_IMAGES) -> int:
    """Return the number of images of `macs` each to time, so that a slow CPU takes about `limit` seconds.

    At most `most` on a CPU; accelerators are timed on all images of a `step`, because fewer would not occupy them.
    """
    if not device.startswith("cpu"):
        return step
    fitting = round(limit * _SLOW / (_STEPS_TIMED * TRAINING_FLOPS_PER_MAC * macs))
    return min(most, max(fitting, least))


def first_batch(model: Model, images: Images, count: int, device: str) -> Batch:
    """Return the first `count` images, or all if there are fewer, prepared for the model, and on the device with it."""
    model.module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    sample = images[np.arange(min(count, len(images)))]
    labels = torch.from_numpy(np.array(sample.targets)).to(device)
    return Batch(torch.arange(len(sample)), model.prepare(on_device(sample.pixels, device)), labels)


def _step(model: Model, batch: Batch, norms: FrozenNorms | None, precision: Precision) -> Callable[[], None]:
    module = model.module

    def step() -> None:
        module.zero_grad(set_to_none=True)
        with safe_convolutions(module, batch.images.device):
            with autocast(batch.images.device, precision), nullcontext() if norms is None else norms.merged():
                logits = class_scores(module(batch.images))
            model.task.loss(logits.float(), batch.labels).backward()
        module.zero_grad(set_to_none=True)

    return synchronous(step, batch.images.device)


def _predict(model: Model, batch: Batch) -> Callable[[], None]:
    """A function that predicts images in full precision, in batches as in evaluation."""

    @torch.inference_mode()
    def run() -> None:
        with eval_mode(model.module):
            for part in batch.images.split(default_batch_size(model)):
                model.module(part)
        synchronize(batch.images.device)

    return run
