"""The network: the requested one, or a convnet whose width fits the images and the time."""

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
from shoestring.evaluation.cost import count_macs
from shoestring.models.description import read_network
from shoestring.models.model import Model, build
from shoestring.models.preprocessing import Preprocessing
from shoestring.planning.defaults import default_batch_size
from shoestring.planning.pretrained import DEFAULT_SIDE, SIDES, input_like, is_pretrained, sides_for
from shoestring.planning.profiling import Profiler
from shoestring.planning.tuning import Work, choose_tuning
from shoestring.training.setup import check_input

_OPTIONS = ("width", "norm", "dropout", "shortcut")
_TRIAL = 0.5  # width that is profiled, and the default if the budget is not a time
# The target number of epochs is the square root of the training FLOPs over this number: five in five minutes on two
# cores. In equal training times a wider network with four epochs is 0.4 points better, and one with three is worse
# again (benchmarks/results/validation_trials.json). But evaluating a wider network takes longer, and whole runs with it
# are less accurate on the same validation images. The speed runs to 94 and 95 % (Jordan 2024) use a quarter fewer
# epochs.
_EPOCH_FLOPS = 3e12
_MIN_SEEN = 160_000  # images to train on at least, repetitions included
# Seconds per image and per Muon update grow with these powers of the width (measured on two cores, widths 0.5 to 2).
_IMAGE_POWER, _UPDATE_POWER = 1.65, 2.3
_WIDTH_STEP = 0.25  # the first block then has a multiple of 16 filters, which suits vector instructions
_MIN_WIDTH, _MAX_WIDTH = 0.25, 2.0
_SHIFT = 1 / 32  # fraction of the side by which the additional crops of an uncertain image are shifted (Jordan 2024)
# Maximum number of images, and of their pixels in total, for computing the mean color and the first layer.
_SAMPLE, _SAMPLE_PIXELS = 2000, 8_192_000


@dataclass(frozen=True)
class Network:
    """Name and options of a network, and why it was chosen; `side` is that of its input (None: that of the images).

    `tune` names the blocks of a pretrained network that are trained, where that depends on the time.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    reason: str = "as requested"
    side: int | None = None
    tune: str | None = None


def choose_network(
    images: Images, settings: Train, *, count: int, seconds: float | None, profiler: Profiler, slowdown: float = 1.0
) -> Network:
    """Return the network to train on `count` of the images.

    `seconds` is the time for training, by which the width of the model "auto" and the input of a pretrained network are
    chosen; None if it is not known, or the budget is not a time. `slowdown` is the ratio of the measured to the
    profiled time of a step.
    """
    options = {key: getattr(settings, key) for key in _OPTIONS if getattr(settings, key) is not None}
    if settings.head is not None:
        options["head"] = str(settings.head)
    if is_pretrained(settings):
        network = Network(settings.model, options, "as requested", SIDES[0])
        if seconds is not None:
            return _tuned(network, images, settings, count=count, seconds=seconds / slowdown, profiler=profiler)
        timed = profiler.budget.unit == "seconds"  # then the costs have this lower bound
        return network if timed else replace(network, side=DEFAULT_SIDE)
    if settings.model != "auto":
        return Network(settings.model, options)
    if settings.starts_from_weights and (saved := read_network(Path(str(settings.weights)))) is not None:
        return Network(saved[0], saved[1] | options, "the network of the loaded weights")
    if "width" in options:
        return Network("convnet", options, "the default network")
    if seconds is None:
        return Network("convnet", {"width": _TRIAL, **options}, "the default width, as the budget is not a time")
    width = _fitting_width(images, count, seconds / slowdown, profiler)
    return Network("convnet", {"width": width, **options}, "as wide as time allows for these images")


def _tuned(
    network: Network, images: Images, settings: Train, *, count: int, seconds: float, profiler: Profiler
) -> Network:
    """The pretrained network with the side of its input, and what is tuned, in the time there is."""
    model = measured_network(network, images, settings, profiler)
    times = measured_times(network, images, settings, count=count, profiler=profiler)
    sides = sides_for(images) if model.preprocessing.resolution == network.side else SIDES[:1]  # or it is fixed
    work = Work(seconds, times, count, profiler.budget.reserved_images)
    side, tune = choose_tuning(work, sides, tune=settings.tune)
    return replace(network, side=side, tune=tune)


def build_network(network: Network, images: Images, settings: Train, *, seed: int) -> Model:
    """Return a new model for these images; if its first layer whitens images, that is computed from a sample of them.

    Raises `UserError` if the network does not run on images of this size.
    """
    sample = images[:1] if is_pretrained(settings) else sampled(images, seed)  # has its own mean and deviation
    model = _checked(_new_model(network, images, settings, _input_of(network, sample, images, settings), seed))
    whiten = getattr(model.module, "whiten", None)
    if not settings.starts_from_weights and whiten is not None:
        whiten(model.prepare(on_device(sample.pixels, "cpu")))
    return model


def measured_network(network: Network, images: Images, settings: Train, profiler: Profiler) -> Model:
    """Return a model like that of `build_network`, to measure while planning.

    Its module is built once, for inputs of any size, so it must not be trained. Raises `UserError` as `build_network`.
    """
    size = _input_of(network, images[:1], images, settings)
    weights = settings.weights if settings.starts_from_weights else None
    key = (network.name, str(network.options), size.channels, images.classes, images.task, weights)

    def at_this_size() -> Model:
        model = profiler.built(key, lambda: _new_model(network, images, settings, size, profiler.context.seed))
        return _checked(replace(model, preprocessing=size))

    return replace(profiler.built((*key, size.resolution), at_this_size), preprocessing=size)


def _input_of(network: Network, sample: Images, images: Images, settings: Train) -> Preprocessing:
    """The preprocessing of a network to train on images, with the statistics of a sample of them."""
    size = preprocessing(sample, mirror=settings.mirrors(images.mirrored), tta=settings.tta)
    return input_like(size, settings, side=network.side)


def _new_model(network: Network, images: Images, settings: Train, size: Preprocessing, seed: int) -> Model:
    """A new model, with loaded weights if the settings name some; see `build_network`."""
    torch.manual_seed(seed)
    weights = settings.weights if settings.starts_from_weights else None
    return build(
        network.name,
        classes=images.classes,
        preprocessing=size,
        options=dict(network.options),
        weights=weights,
        task=images.task,
    )


def _checked(model: Model) -> Model:
    """The model. Raises `UserError` if it does not run on images of its size."""
    check_input(model, model.preprocessing.resolution, ". Use another --resolution or --model.")
    return model


def measured_times(network: Network, images: Images, settings: Train, *, count: int, profiler: Profiler) -> StepTimes:
    """Return the times of a network for training on `count` of the images."""
    model = measured_network(network, images, settings, profiler)
    size = settings.batch_size or default_batch_size(count, profiler.context.device)
    return profiler(model, images, settings, batch_size=size).times


def sampled(images: Images, seed: int) -> Images:
    """Return a random sample of the images: up to 2,000, fewer if they are large."""
    height, width, _ = images.shape
    count = max(1, min(_SAMPLE, _SAMPLE_PIXELS // (height * width)))
    return images[np.random.default_rng(seed).permutation(len(images))[:count]]


def expected_preprocessing(images: Images, settings: Train) -> Preprocessing:
    """Return the preprocessing of a network to train, with the statistics of one image, to estimate its costs."""
    return preprocessing(images[:1], mirror=settings.mirrors(images.mirrored), tta=settings.tta)


def preprocessing(sample: Images, *, mirror: bool = False, tta: str = "none") -> Preprocessing:
    """Return resolution, channels, fit, and mean and standard deviation of each channel over a sample of images.

    `tta` is the test-time augmentation; `mirror` is whether a mirrored image keeps its class.
    """
    pixels = sample.pixels.reshape(-1, sample.shape[2]) / np.float32(255)
    mean = tuple(round(float(value), 4) for value in pixels.mean(0, dtype=np.float64))
    std = tuple(round(max(float(value), 1e-3), 4) for value in pixels.std(0, dtype=np.float64))
    side, channels = sample.shape[0], sample.shape[2]
    shift = round(_SHIFT * side) if tta in ("auto", "crops") else 0
    return Preprocessing(side, channels, mean, std, mirror and tta != "none", shift, fit=sample.fit)


def _fitting_width(images: Images, count: int, seconds: float, profiler: Profiler) -> float:
    """Width of the widest convnet with enough epochs of `count` images in the time, extrapolated from profiles."""
    context = profiler.context
    size = default_batch_size(count, context.device)
    model = trial_network(images, profiler)
    trial, macs = _times(model, images, size, profiler), count_macs(model)
    image_power, update_power = _IMAGE_POWER, _UPDATE_POWER
    if not context.device.startswith("cpu"):  # accelerators are more efficient on wide layers, to varying degrees
        wide = _times(trial_network(images, profiler, width=_MAX_WIDTH), images, size, profiler)
        ratio = _MAX_WIDTH / _TRIAL
        image_power = math.log(wide.train / trial.train, ratio)
        update_power = math.log(wide.update / trial.update, ratio)
    epochs = (TRAINING_FLOPS_PER_MAC * macs * seconds / trial.train / _EPOCH_FLOPS) ** 0.5
    for width in np.arange(_MAX_WIDTH, _MIN_WIDTH, -_WIDTH_STEP).tolist():
        ratio = width / _TRIAL
        seconds_per_image = trial.train * ratio**image_power + trial.update * ratio**update_power / size
        if max(epochs * count, _MIN_SEEN) * seconds_per_image <= seconds:
            return width
    return _MIN_WIDTH


def trial_network(images: Images, profiler: Profiler, *, width: float = _TRIAL) -> Model:
    """Return the convnet by which the width that fits the time is found, to measure."""
    network = Network("convnet", {"width": width})
    return measured_network(network, images, Train(model="convnet", tta="none"), profiler)


def _times(model: Model, images: Images, batch_size: int, profiler: Profiler) -> StepTimes:
    return profiler(model, images, Train(model="convnet"), batch_size=batch_size).times
