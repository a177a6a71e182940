"""Defaults for what a recipe leaves open: batch size and augmentation, by the number of images and the time."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from shoestring.config.plan import StepTimes
from shoestring.config.recipe import Train
from shoestring.data.augment import Augment
from shoestring.growth import Schedule, Stage
from shoestring.growth.compose import stages_of
from shoestring.growth.image_size import stage_side

_LARGEST, _LARGEST_ON_GPU, SMALLEST = 500, 1000, 32  # batch sizes

_STEPS_PER_EPOCH = 8
_MIN_STEPS, _MIN_FULL_STEPS = 200, 20  # in all, and of the whole network at full resolution
_WIDTH_SECONDS = 1.3  # seconds per image grow with this power of the width (measured on two cores)
_FEW, _MANY_EPOCHS_OF_FEW = 10_000, 50  # images, and epochs
_MANY_EPOCHS = 35  # from which published recipes use cutout on any number of images (Jordan 2024, airbench96)
_JITTER = 0.5  # 2.4 points at 120 epochs over a thousand images, on validation images; twelve epochs are too few for it
_MIXUP = 0.8  # one point there, half a point at 0.5 (one seed); pieces of other images (CutMix) 0.6 at most


def default_batch_size(count: int, device: str) -> int:
    """Batch size by the number of images: small data needs the noise of small batches, and fast devices large ones."""
    largest = _LARGEST if device.startswith("cpu") else _LARGEST_ON_GPU
    return max(SMALLEST, min(largest, count // _STEPS_PER_EPOCH))


def fitting_batch_size(size: int, seconds: float, times: StepTimes, schedule: Schedule, full: int) -> int:
    """The batch size, halved while `seconds` are enough for too few steps; more steps of small stages fit.

    Not where that gains few steps, because most of a step does not depend on the batch size. `full` is the full
    resolution.
    """
    stages = stages_of(schedule)
    more = sum(fraction / _relative_seconds(stage, full) for stage, fraction in stages.items())
    last = stages[Stage()]

    def too_few() -> bool:
        steps = seconds / times.step(size)
        return more * steps < _MIN_STEPS or last * steps < _MIN_FULL_STEPS

    while size >= 2 * SMALLEST and too_few() and size * times.train > times.update:
        size //= 2
    return size


def _relative_seconds(stage: Stage, full: int) -> float:
    """About how long a step of a stage takes, as a fraction of one of the whole network at full resolution."""
    return (stage_side(stage, full) / full) ** 2 * stage.width**_WIDTH_SECONDS * stage.depth


def augmentation(settings: Train, count: int, *, mirrored: bool, epochs: float) -> dict[str, Any]:
    """Fields of `Augment`: as requested, else stronger for few images or many epochs, and of more kinds for both.

    `mirrored` says whether a mirrored image keeps its class.
    """
    few = count < _FEW
    strong, seen_often = few or epochs >= _MANY_EPOCHS, few and epochs >= _MANY_EPOCHS_OF_FEW

    def choose(given: float | None, default: float) -> float:
        return default if given is None else given

    return asdict(
        Augment(
            flip=settings.mirrors(mirrored),
            shift=choose(settings.shift, 0.125 if strong else 0.0625),
            cutout=choose(settings.cutout, 0.25 if strong else 0.0),
            jitter=choose(settings.jitter, _JITTER if seen_often else 0.0),
            mixup=choose(settings.mixup, _MIXUP if seen_often else 0.0),
            rotate=settings.rotate,
            zoom=settings.zoom,
            strength=tuple(settings.strength),
        )
    )
