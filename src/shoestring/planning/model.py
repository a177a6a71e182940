"""The network: the one requested, or a convnet whose width fits the images and the time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shoestring.config.plan import TRAINING_FLOPS_PER_MAC, StepTimes
from shoestring.config.recipe import Train
from shoestring.data.batches import on_device
from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.evaluation.cost import count_macs
from shoestring.models.description import read_network
from shoestring.models.model import Model, build
from shoestring.models.preprocessing import Preprocessing
from shoestring.planning.defaults import default_batch_size
from shoestring.planning.profiling import Profiler

_OPTIONS = ("width", "norm", "dropout", "shortcut")
_TRIAL = 0.5  # width that is profiled, and the default where the budget is not a time
# Epochs that are worth more than a wider network grow with the root of the FLOPs of training over this number: five in
# five minutes on two cores. In equal times of training the four of a wider network are 0.4 points better, and three
# worse again (benchmarks/results/validation_trials.json); but evaluating a wider one takes from that time, and in whole
# runs it is worse on the same validation images. The speed runs of 94 and 95 % (Jordan 2024) have a quarter
# fewer.
_EPOCH_FLOPS = 3e12
_MIN_SEEN = 160_000  # images to see, repetitions included, if there are few
# Seconds per image and per Muon update grow with these powers of the width (measured on two cores, widths 0.5 to 2).
_IMAGE_GROWTH, _UPDATE_GROWTH = 1.65, 2.3
_WIDTH_STEP = 0.25  # the first block then has a multiple of 16 filters, which processors compute together
_NARROWEST, _WIDEST = 0.25, 2.0
_SHIFT = 1 / 32  # fraction of the side by which the additional crops of an uncertain image are shifted (Jordan 2024)
# Images, and pixels of all of them, that the mean color and the first layer are computed from.
_SAMPLE, _SAMPLE_PIXELS = 2000, 8_192_000


@dataclass(frozen=True)
class Network:
    """Name and options of a network, and why it was chosen."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    reason: str = "as requested"


def choose_network(
    images: Images, settings: Train, *, count: int, seconds: float | None, profiler: Profiler, load: float = 1.0
) -> Network:
    """The network to train on `count` of the images.

    `seconds` are available for training, and decide the width of the model "auto"; None where the budget is not a time.
    `load` is the measured over the profiled time of a step.
    """
    options = {key: getattr(settings, key) for key in _OPTIONS if getattr(settings, key) is not None}
    if settings.model != "auto":
        return Network(settings.model, options)
    if settings.weights is not None and (saved := read_network(Path(settings.weights))) is not None:
        return Network(saved[0], saved[1] | options, "the network of the weights")
    if "width" in options:
        return Network("convnet", options, "the default network")
    if seconds is None:
        return Network("convnet", {"width": _TRIAL, **options}, "the default width, as the budget is not a time")
    width = _fitting_width(images, count, seconds / load, profiler)
    return Network("convnet", {"width": width, **options}, "as wide as the time allows for these images")


def build_network(network: Network, images: Images, settings: Train, *, seed: int) -> Model:
    """A new model for these images, its first layer computed from them where the network has such a layer.

    Raises `UserError` if the network does not run on images of this size.
    """
    sample = sampled(images, seed)
    torch.manual_seed(seed)
    size = preprocessing(sample, mirror=settings.mirrors(images.mirrored), tta=settings.tta)
    options = dict(network.options)
    model = build(network.name, classes=images.classes, preprocessing=size, options=options, weights=settings.weights)
    _check_runs(model)
    whiten = getattr(model.module, "whiten", None)
    if settings.weights is None and whiten is not None:
        whiten(model.prepare(on_device(sample.pixels, "cpu")))
    return model


def sampled(images: Images, seed: int) -> Images:
    """A random sample of the images: up to 2,000, fewer of large ones."""
    height, width, _ = images.shape
    count = max(1, min(_SAMPLE, _SAMPLE_PIXELS // (height * width)))
    return images[np.random.default_rng(seed).permutation(len(images))[:count]]


def _check_runs(model: Model) -> None:
    try:
        count_macs(model)
    except (RuntimeError, ValueError, AssertionError) as error:
        side = model.preprocessing.resolution
        raise UserError(
            f"{model.name} does not take images of {side} x {side} pixels ({str(error).splitlines()[0]}). "
            "Use another --resolution or --model."
        ) from None


def preprocessing(sample: Images, *, mirror: bool = False, tta: str = "none") -> Preprocessing:
    """Resolution, channels, and mean and standard deviation of each channel over a sample of images.

    `tta` is the test-time augmentation; `mirror` says whether a mirrored image keeps its class.
    """
    pixels = sample.pixels.reshape(-1, sample.shape[2]) / np.float32(255)
    mean = tuple(round(float(value), 4) for value in pixels.mean(0, dtype=np.float64))
    std = tuple(round(max(float(value), 1e-3), 4) for value in pixels.std(0, dtype=np.float64))
    side, channels = sample.shape[0], sample.shape[2]
    shift = round(_SHIFT * side) if tta in ("auto", "crops") else 0
    return Preprocessing(side, channels, mean, std, mirror and tta != "none", shift)


def _fitting_width(images: Images, count: int, seconds: float, profiler: Profiler) -> float:
    """The widest convnet that sees `count` images often enough in the time, by the profile of one."""
    context = profiler.context
    size = default_batch_size(count, context.device)
    sample = sampled(images, context.seed)
    trial, macs = _profiled(sample, _TRIAL, size, profiler)
    image_growth, update_growth = _IMAGE_GROWTH, _UPDATE_GROWTH
    if not context.device.startswith("cpu"):  # accelerators gain by wide layers, and by how much differs
        wide, _ = _profiled(sample, _WIDEST, size, profiler)
        ratio = _WIDEST / _TRIAL
        image_growth = math.log(wide.train / trial.train, ratio)
        update_growth = math.log(wide.update / trial.update, ratio)
    epochs = (TRAINING_FLOPS_PER_MAC * macs * seconds / trial.train / _EPOCH_FLOPS) ** 0.5
    for width in np.arange(_WIDEST, _NARROWEST, -_WIDTH_STEP).tolist():
        ratio = width / _TRIAL
        price = trial.train * ratio**image_growth + trial.update * ratio**update_growth / size
        if max(epochs * count, _MIN_SEEN) * price <= seconds:
            return width
    return _NARROWEST


def _profiled(sample: Images, width: float, batch_size: int, profiler: Profiler) -> tuple[StepTimes, int]:
    """Times and MACs of a convnet of this width."""
    size = preprocessing(sample)
    model = build("convnet", classes=sample.classes, preprocessing=size, options={"width": width})
    settings = replace(Train(), model="convnet")
    return profiler(model, sample, settings, batch_size=batch_size).times, count_macs(model)
