"""What is decided before the first step: images a step, changes of the images, their size at each stage."""

from __future__ import annotations

from typing import Any

from shoestring.budget import Window
from shoestring.config.recipe import Train
from shoestring.data.augment import Augment
from shoestring.growth import Schedule, Stage
from shoestring.growth.compose import stages_of
from shoestring.training.profiling import Speed

_LARGEST, _LARGEST_ELSEWHERE, SMALLEST = 500, 1000, 32  # on processors, on accelerators, anywhere

_STEPS_AN_EPOCH = 8
_STEPS_WANTED, _LAST_STEPS = 200, 20  # in all, and of the whole problem
_WIDTH_SECONDS = 1.3  # seconds an image grow with this power of the width (measured on two cores)
_FEW, _OFTEN = 10_000, 50  # images, and passes over them
_MANY = 35  # passes over any images, from which published recipes cut out, too (Jordan 2024, airbench96)
_JITTER = 0.5  # 2.4 points at 120 passes over a thousand images, on validation images; twelve passes are too few for it
_MIXUP = 0.8  # one point there, half a point at 0.5 (one seed); pieces of other images (CutMix) 0.6 at most
_CROPPED = 32  # images up to this side are cropped to a smaller stage, larger ones are scaled


def first_batch_size(count: int, device: str) -> int:
    """Images a step by their number: small data needs the noise of small batches, and fast devices large ones."""
    largest = _LARGEST if device.startswith("cpu") else _LARGEST_ELSEWHERE
    return max(SMALLEST, min(largest, count // _STEPS_AN_EPOCH))


def fewer_images_a_step(size: int, window: Window, speed: Speed, schedule: Schedule, full: int) -> int:
    """Halve the batch while the window has time for too few steps of it; of small problems it has time for more.

    Not where that brings few steps more, because most of a step does not depend on the number of images.
    """
    if window.budget.unit != "seconds":
        return size
    stages = stages_of(schedule)
    more, last = sum(share / _seconds(stage, full) for stage, share in stages.items()), stages[Stage()]

    def few() -> bool:
        steps = window.remaining / (speed.step(size) * window.budget.load)
        return more * steps < _STEPS_WANTED or last * steps < _LAST_STEPS

    while size >= 2 * SMALLEST and few() and size * speed.train > speed.update:
        size //= 2
    return size


def _seconds(stage: Stage, full: int) -> float:
    """About how long a step takes, as a share of one of the whole problem on images of the `full` side."""
    return (side(stage, full) / full) ** 2 * stage.width**_WIDTH_SECONDS * stage.depth


def augmentation(settings: Train, count: int, *, mirrored: bool, passes: float) -> Augment:
    """The changes asked for; by default larger ones of few images or many passes, and more kinds of few seen often."""
    few = count < _FEW
    large = few or passes >= _MANY
    return Augment(
        flip=settings.mirrors(mirrored),
        shift=(0.125 if large else 0.0625) if settings.shift is None else settings.shift,
        cutout=(0.25 if large else 0.0) if settings.cutout is None else settings.cutout,
        jitter=(_JITTER if few and passes >= _OFTEN else 0.0) if settings.jitter is None else settings.jitter,
        mixup=(_MIXUP if few and passes >= _OFTEN else 0.0) if settings.mixup is None else settings.mixup,
        rotate=settings.rotate,
        zoom=settings.zoom,
        strength=settings.strengths(),
    )


def side(stage: Stage, full: int) -> int:
    """The side of the images in a stage: a multiple of four, at least eight, at most the full resolution."""
    return full if stage.resolution >= 1 else min(full, max(8, round(stage.resolution * full / 4) * 4))


def too_small_to_shrink(schedule: Schedule, full: int) -> bool:
    """Whether images are to grow, and cannot, because they are as small as images get."""
    smaller_ones = [stage for stage in stages_of(schedule) if stage.resolution < 1]
    return bool(smaller_ones) and all(side(stage, full) == full for stage in smaller_ones)


def smaller(side: int, full: int) -> dict[str, Any]:
    """How a batch comes to this side: a crop of small images, a smaller scale of large ones."""
    if side == full:
        return {}
    return {"crop": side} if full <= _CROPPED else {"resolution": side}
