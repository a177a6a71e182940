"""Defaults of batch size and augmentation, by the number of images and the time."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from shoestring.config.plan import StepTimes
from shoestring.config.recipe import Train
from shoestring.data.augment import Augment
from shoestring.growth import Schedule, Stage
from shoestring.growth.compose import stages_of
from shoestring.growth.image_size import stage_side

_MAX_BATCH, _MAX_BATCH_GPU, MIN_BATCH = 500, 1000, 32  # batch sizes

_STEPS_PER_EPOCH = 8
_MIN_STEPS, _MIN_FULL_STEPS = 200, 20  # in total, and with the whole network at full resolution
_WIDTH_POWER = 1.3  # seconds per image grow with this power of the width (measured on two cores)
_SMALL_DATA, _SMALL_DATA_EPOCHS = 10_000, 50  # fewer images, and at least so many epochs of them: stronger augmentation
_MANY_EPOCHS = 35  # from which published recipes use cutout on any number of images (Jordan 2024, airbench96)
_JITTER = 0.5  # 2.4 points at 120 epochs over a thousand images, on validation images; twelve epochs are too few for it
_MIXUP = 0.8  # one point there, half a point at 0.5 (one seed); pieces of other images (CutMix) 0.6 at most


def default_batch_size(count: int, device: str, *, fine_tuned: bool = False) -> int:
    """Return the batch size for `count` images: small data needs noisy small batches, and fast devices large ones.

    A pretrained network that is `fine_tuned` on a CPU gets small batches, as its few epochs need many steps.
    """
    if fine_tuned and device.startswith("cpu"):
        return MIN_BATCH
    largest = _MAX_BATCH if device.startswith("cpu") else _MAX_BATCH_GPU
    return max(MIN_BATCH, min(largest, count // _STEPS_PER_EPOCH))


def fitting_batch_size(size: int, seconds: float, times: StepTimes, schedule: Schedule, full: int) -> int:
    """Return the batch size `size`, halved while there are too few steps in `seconds`.

    Stages with small images or networks have more steps. The batch size is not halved if most of a step's time does not
    depend on it. `full` is the full resolution.
    """
    stages = stages_of(schedule)
    speedup = sum(fraction / _relative_seconds(stage, full) for stage, fraction in stages.items())
    last = stages[Stage()]

    def too_few() -> bool:
        steps = seconds / times.step(size)
        return speedup * steps < _MIN_STEPS or last * steps < _MIN_FULL_STEPS

    while size >= 2 * MIN_BATCH and too_few() and size * times.train > times.update:
        size //= 2
    return size


def _relative_seconds(stage: Stage, full: int) -> float:
    """Estimated time of a step of a stage, relative to the whole network at full resolution."""
    return (stage_side(stage, full) / full) ** 2 * stage.width**_WIDTH_POWER * stage.depth


def augmentation(settings: Train, count: int, *, mirrored: bool, epochs: float) -> dict[str, Any]:
    """Return the fields of `Augment`: as requested, otherwise stronger for few images or many epochs.

    With few images and many epochs, jitter and mixup are added. `mirrored` is whether a mirrored image keeps its
    class.
    """
    few = count < _SMALL_DATA
    strong, strongest = few or epochs >= _MANY_EPOCHS, few and epochs >= _SMALL_DATA_EPOCHS

    def choose(requested: float | None, default: float) -> float:
        return default if requested is None else requested

    return asdict(
        Augment(
            flip=settings.mirrors(mirrored),
            shift=choose(settings.shift, 0.125 if strong else 0.0625),
            cutout=choose(settings.cutout, 0.25 if strong else 0.0),
            jitter=choose(settings.jitter, _JITTER if strongest else 0.0),
            mixup=choose(settings.mixup, _MIXUP if strongest else 0.0),
            rotate=settings.rotate,
            zoom=settings.zoom,
            strength=tuple(settings.strength),
        )
    )
