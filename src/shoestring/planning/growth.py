"""The growth schedule "auto": networks grow only if time is too short for two epochs."""

from __future__ import annotations

from shoestring.config.plan import StepTimes
from shoestring.config.recipe import Grow, Train
from shoestring.errors import UserError
from shoestring.growth import Schedule
from shoestring.growth.compose import compose
from shoestring.models.model import Model
from shoestring.training.setup import prepare_growth

_ENOUGH_EPOCHS = 2.0  # growing helps with far fewer epochs, and does not with five (docs/growth.md)
_ENOUGH_FOR_MUON = 50_000  # images seen, repetitions included, from which Muon does not gain by growing
_SCHEDULES = ("resolution,width,depth", "resolution,width", "resolution,depth", "resolution", "width", "depth")


def requested_schedule(grow: Grow, settings: Train) -> Schedule:
    """Return the growth schedule of a recipe; for "auto" a constant one.

    Raises `UserError` for a network with loaded weights that would start narrower or shallower.
    """
    if grow.is_auto:
        return compose("constant")
    schedule = compose(grow.stages or grow.method, grow.options)
    first = schedule(0.0)
    if settings.starts_from_weights and min(first.width, first.depth) < 1:
        adjective, part = ("narrow", "width") if first.width < 1 else ("shallow", "depth")
        raise UserError(
            f"a network that starts {adjective} starts from scratch: omit --weights, or {part} in --grow or --stages."
        )
    return schedule


def choose_growth(
    model: Model, settings: Train, optimizer: str, *, count: int, seconds: float | None, times: StepTimes
) -> tuple[Schedule, str]:
    """Return the best schedule in benchmarks for training on `count` images for so many seconds, and the reason.

    If there is time for few images only, training starts with smaller images, fewer channels and fewer blocks, as far
    as the network supports that. Without seconds (None) nothing grows, so that runs are reproducible.
    """
    constant = compose("constant")
    if seconds is None:
        return constant, "the budget is not a time"
    if settings.starts_from_weights:
        return constant, "the network has loaded weights"
    if settings.model == "auto":
        return constant, "the width of the network fits the time"
    seen, enough = seconds / times.train, _ENOUGH_EPOCHS * count
    if seen >= (min(enough, _ENOUGH_FOR_MUON) if optimizer == "muon" else enough):
        return constant, f"there is time for {seen:,.0f} images with the whole {model.name}, which is enough"
    for names in _SCHEDULES:
        schedule = compose(names)
        try:
            prepare_growth(model, schedule)
        except UserError:
            continue
        return schedule, f"there is time for only {seen:,.0f} images with the whole {model.name}"
    return constant, f"{model.name} supports neither smaller images nor a smaller width or depth"
