"""Which network is trained: the one asked for, or one whose width fits the images and the time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shoestring.config.recipe import Train
from shoestring.data.batches import on_device
from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.evaluation.cost import count_macs
from shoestring.models.description import read_network
from shoestring.models.model import Model, build
from shoestring.models.preprocessing import Preprocessing
from shoestring.runtime.context import Context
from shoestring.training import defaults
from shoestring.training.optimizers.optimizer import update_seconds
from shoestring.training.profiling import FLOPS_PER_MAC, calibrate, few_of, images_to_time

_OPTIONS = ("width", "norm", "dropout", "shortcut")
_TRIAL = 0.5  # width that is timed, and taken where time does not count
_TRIAL_IMAGES, _TRIAL_LEAST = 256, 64
_TIMED = 0.015  # share of the time that may go into timing it
_PASS_FLOPS = 3e12  # see `_passes`
_SEEN = 160_000  # images to see at least, where there are few
# seconds that an image and Muon take grow with these powers of the width (measured on two cores, widths of 0.5 to 2)
_IMAGE_GROWTH, _STEP_GROWTH = 1.65, 2.3
_STRIDE = 0.25  # between widths: the first block then has whole sixteens of filters, as processors take them together
_NARROWEST, _WIDEST = 0.25, 2.0
_SHIFT = 1 / 32  # share of the side by which the further views of a doubtful image are moved (Jordan 2024)
# images, and pixels of all of them, that the mean colour and the first layer are taken from
_SAMPLE, _SAMPLE_PIXELS = 2000, 8_192_000


def choose_model(
    images: Images,
    settings: Train,
    *,
    context: Context,
    seconds: float | None,
    network: tuple[str, dict[str, Any]] | None = None,
    timings: dict[Any, Any] | None = None,
) -> Model:
    """A fresh model for these images, its first layer set from them where the network has such a layer.

    `seconds` is the time there is for training, from which "auto" takes the width; None where time does not count.
    `network` (name and options) is the one of an interrupted training, which the settings do not decide again.
    `timings` holds what was timed before, and gets what is timed now.
    """
    options = {key: getattr(settings, key) for key in _OPTIONS if getattr(settings, key) is not None}
    name = settings.model
    sample = sampled(images, context.seed)
    known = read_network(Path(settings.weights)) if settings.weights is not None else None
    if network is not None:
        name, options = network
    elif name == "auto" and known is not None:
        name, options = known[0], known[1] | options
    elif name == "auto":
        name = "convnet"
        width = fitting_width(sample, len(images), context=context, seconds=seconds, timings=timings)
        options.setdefault("width", width)
        why = "its usual one, as no time counts" if seconds is None else "as wide as the time allows for these images"
        context.log(f"model convnet, width {options['width']:g}: {why}")
    torch.manual_seed(context.seed)
    model = build(
        name,
        classes=images.classes,
        preprocessing=preprocessing(sample, mirror=settings.mirrors(images.mirrored), views=settings.views),
        options=options,
        weights=settings.weights,
    )
    _try(model)
    whiten = getattr(model.module, "whiten", None)
    if settings.weights is None and whiten is not None:
        whiten(model.prepare(on_device(sample.pixels, "cpu")))
    return model


def sampled(images: Images, seed: int) -> Images:
    """A sample of the images: up to 2,000, fewer of large ones."""
    height, width, _ = images.shape
    count = max(1, min(_SAMPLE, _SAMPLE_PIXELS // (height * width)))
    return images[np.random.default_rng(seed).permutation(len(images))[:count]]


def _try(model: Model) -> None:
    """`UserError` when the network does not run on images of this size."""
    try:
        count_macs(model)
    except (RuntimeError, ValueError, AssertionError) as error:
        side = model.preprocessing.resolution
        raise UserError(
            f"{model.name} does not take images of {side} x {side} pixels ({str(error).splitlines()[0]}). "
            "Take another --resolution or --model."
        ) from None


def preprocessing(sample: Images, *, mirror: bool = False, views: str = "one") -> Preprocessing:
    """Resolution and channels of the images, mean and deviation of each channel over a sample of them.

    `views` are those that predictions average over; `mirror` says whether a mirrored image keeps its class.
    """
    pixels = sample.pixels.reshape(-1, sample.shape[2]) / np.float32(255)
    mean = tuple(round(float(value), 4) for value in pixels.mean(0, dtype=np.float64))
    std = tuple(round(max(float(value), 1e-3), 4) for value in pixels.std(0, dtype=np.float64))
    side, channels = sample.shape[0], sample.shape[2]
    shift = round(_SHIFT * side) if views in ("auto", "crops") else 0
    return Preprocessing(side, channels, mean, std, mirror and views != "one", shift)


def fitting_width(
    sample: Images,
    count: int,
    *,
    context: Context,
    seconds: float | None,
    timings: dict[Any, Any] | None = None,
) -> float:
    """The widest convnet that sees `count` images often enough in the time, from the speed of one that is timed."""
    if seconds is None:
        return _TRIAL
    timings = {} if timings is None else timings
    if _TRIAL not in timings:
        timings[_TRIAL] = _timed(sample, count, _TRIAL, context=context, limit=_TIMED * seconds)
    trial = timings[_TRIAL]
    of_image, of_step = _IMAGE_GROWTH, _STEP_GROWTH
    if not context.device.startswith("cpu"):  # there is no saying how much an accelerator gains by wide layers
        wide = _timed(sample, count, _WIDEST, context=context, limit=_TIMED * seconds)
        of_image, of_step = (math.log(more / less, _WIDEST / _TRIAL) for more, less in zip(wide[:2], trial[:2]))
    image, step, macs = trial
    processes, size = context.rank_and_size[1], defaults.first_batch_size(count, context.device)
    passes = _passes(FLOPS_PER_MAC * macs * seconds * processes / image)
    for width in np.arange(_WIDEST, _NARROWEST, -_STRIDE).tolist():
        wider = width / _TRIAL
        price = image * wider**of_image / processes + step * wider**of_step / size
        if max(passes * count, _SEEN) * price <= seconds:
            return width
    return _NARROWEST


def _timed(sample: Images, count: int, width: float, *, context: Context, limit: float) -> tuple[float, float, int]:
    """Seconds that a convnet of this width takes for one of `count` images, and for a step besides; its MACs."""
    size = preprocessing(sample)
    model = build("convnet", classes=sample.classes, preprocessing=size, options={"width": width})
    macs, step = count_macs(model), defaults.first_batch_size(count, context.device)
    few = max(images_to_time(macs, limit, most=_TRIAL_IMAGES, step=step, device=context.device), _TRIAL_LEAST)
    batch = few_of(model, sample, few, context.device)
    speed = calibrate(model, batch, wanted="auto", limit=limit, threads=context.threads)
    return speed.train, update_seconds(model, Train()), macs


def _passes(flops: float) -> float:
    """Passes over the images that are worth more than a wider network: they grow with the root of the operations.

    Five in five minutes on two cores. In equal times of training the four of a wider network are 0.4 points better, and
    three again worse (benchmarks/results/validation_trials.json); but evaluating a wider one takes of that time, and in
    whole runs it comes out behind on the same validation images. The speed runs of 94 and 95 % (Jordan 2024) have a
    quarter fewer.
    """
    return (flops / _PASS_FLOPS) ** 0.5
