"""Test-time augmentation "auto": as much as evaluation has time for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from shoestring.config.recipe import Train
from shoestring.data.images import Images
from shoestring.models.tta import expected_passes
from shoestring.planning.defaults import default_batch_size
from shoestring.planning.model import build_network, choose_network, preprocessing
from shoestring.planning.profiling import Profiler

CHOICES = ("crops", "flip", "none")  # the most first
_PER_SECOND = 100  # images to evaluate per second of the budget, up to which a network that fits the time has crops
_FRACTIONS = {"crops": 0.06, "flip": 0.15}  # of a time budget that evaluation may take


def choose_tta(
    settings: Train, images: Images, *, evaluated: int, seconds: float | None, predict_seconds: Callable[[], float]
) -> tuple[str, str]:
    """The test-time augmentation of a model, and the reason.

    `evaluated` images are predicted within a budget of so many seconds (None where the budget is not a time).
    `predict_seconds` measures what one forward pass of an image takes; it is called only where that counts.
    """
    if settings.tta != "auto":
        return settings.tta, "as requested"
    if seconds is None:
        return "crops", "the budget is not a time"
    if settings.model == "auto":  # its width will fit the time
        name = "flip" if evaluated > _PER_SECOND * seconds else "crops"
        return name, f"{evaluated:,} images to evaluate"
    price = evaluated * predict_seconds()
    for name, fraction in _FRACTIONS.items():
        size = preprocessing(images[:1], mirror=settings.mirrors(images.mirrored), tta=name)
        if expected_passes(size) * price <= fraction * seconds:
            return name, f"evaluation takes at most {fraction:.0%} of the time"
    return "none", "evaluation has no time for more"


def with_tta(settings: Train, images: Images, *, evaluated: int, profiler: Profiler) -> Train:
    """Return the settings with the test-time augmentation chosen, by the profile of the network where that counts."""
    budget = profiler.budget

    def predict_seconds() -> float:
        network = choose_network(images, settings, count=len(images), seconds=None, profiler=profiler)
        model = build_network(network, images, settings, seed=profiler.context.seed)
        size = settings.batch_size or default_batch_size(len(images), profiler.context.device)
        return profiler(model, images, settings, batch_size=size).times.predict

    seconds = budget.total if budget.unit == "seconds" else None
    tta, _ = choose_tta(settings, images, evaluated=evaluated, seconds=seconds, predict_seconds=predict_seconds)
    return replace(settings, tta=tta)
