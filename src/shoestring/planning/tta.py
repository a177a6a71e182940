"""Test-time augmentation "auto": the strongest that evaluation has time for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from shoestring.config.recipe import Train
from shoestring.data.images import Images
from shoestring.models.tta import expected_passes
from shoestring.planning.model import choose_network, measured_times, preprocessing
from shoestring.planning.profiling import Profiler

CHOICES = ("crops", "flip", "none")  # strongest first
_MAX_PER_SECOND = 100  # images to evaluate per second of the budget, for crops with a network whose width fits the time
_FRACTIONS = {"crops": 0.06, "flip": 0.15}  # maximum fractions of a time budget for evaluation


def choose_tta(
    settings: Train, images: Images, *, evaluated: int, seconds: float | None, predict_seconds: Callable[[], float]
) -> tuple[str, str]:
    """Return the test-time augmentation of a model, and the reason.

    `evaluated` images are predicted within a budget of so many seconds (None if it is not a time). `predict_seconds`
    measures the time of a forward pass of one image; it is called only if needed.
    """
    if settings.tta != "auto":
        return settings.tta, "as requested"
    if seconds is None:
        return "crops", "the budget is not a time"
    if settings.model == "auto":  # its width fits the time
        name = "flip" if evaluated > _MAX_PER_SECOND * seconds else "crops"
        return name, f"{evaluated:,} images to evaluate"
    pass_seconds = evaluated * predict_seconds()
    for name, fraction in _FRACTIONS.items():
        size = preprocessing(images[:1], mirror=settings.mirrors(images.mirrored), tta=name)
        if expected_passes(size) * pass_seconds <= fraction * seconds:
            return name, f"evaluation takes at most {fraction:.0%} of the time"
    return "none", "there is no time for more"


def with_tta(settings: Train, images: Images, *, evaluated: int, profiler: Profiler) -> tuple[Train, str]:
    """Return the settings with the test-time augmentation "auto" resolved, and the reason.

    The network is profiled only if needed.
    """
    budget = profiler.budget

    def predict_seconds() -> float:
        network = choose_network(images, settings, count=len(images), seconds=None, profiler=profiler)
        return measured_times(network, images, settings, count=len(images), profiler=profiler).predict

    seconds = budget.total if budget.unit == "seconds" else None
    tta, reason = choose_tta(settings, images, evaluated=evaluated, seconds=seconds, predict_seconds=predict_seconds)
    return replace(settings, tta=tta), reason
