"""The growth schedule "auto": a network grows only if the time is too short to see each image often enough."""

from __future__ import annotations

from shoestring.config.plan import StepTimes
from shoestring.config.recipe import Grow, Train
from shoestring.errors import UserError
from shoestring.growth import Schedule
from shoestring.growth.compose import compose
from shoestring.models.model import Model
from shoestring.training.setup import prepare_growth

_EPOCHS = 2.0  # with far fewer, growing pays; with five it does not (docs/growth.md)
_MUON_IMAGES = 50_000  # images seen from which Muon, which learns more from few, does as well without growing
_SCHEDULES = ("resolution,width,depth", "resolution,width", "resolution,depth", "resolution", "width", "depth")


def requested_schedule(grow: Grow, settings: Train) -> Schedule:
    """The growth schedule of a recipe, constant where that is left open.

    Raises `UserError` if a smaller start would cut loaded weights.
    """
    if grow.is_auto:
        return compose("constant")
    schedule = compose(grow.stages or grow.method, grow.options)
    first = schedule(0.0)
    if settings.weights is not None and min(first.width, first.depth) < 1:
        word, part = ("narrow", "width") if first.width < 1 else ("shallow", "depth")
        raise UserError(
            f"a network that starts {word} starts from scratch: omit --weights, or {part} in --grow or --stages."
        )
    return schedule


def choose_growth(
    model: Model, settings: Train, optimizer: str, *, count: int, seconds: float | None, times: StepTimes
) -> tuple[Schedule, str]:
    """The schedule that measures best for training on `count` images for so many seconds, and the reason.

    A network that would see few images is trained on smaller images, with fewer channels and fewer blocks first, as far
    as it supports that. Without seconds (None) nothing grows, so that runs are reproducible.
    """
    constant = compose("constant")
    if seconds is None:
        return constant, "the budget is not a time"
    if settings.weights is not None:
        return constant, "the network starts from weights"
    if settings.model == "auto":
        return constant, "a network that fits the time gains nothing by growing"
    seen, enough = seconds / times.train, _EPOCHS * count
    if seen >= (min(enough, _MUON_IMAGES) if optimizer == "muon" else enough):
        return constant, f"the whole {model.name} would see {seen:,.0f} images in the time, which is enough"
    for names in _SCHEDULES:
        schedule = compose(names)
        try:
            prepare_growth(model, schedule)
        except UserError:
            continue
        return schedule, f"the whole {model.name} would see {seen:,.0f} images in the time"
    return constant, f"{model.name} can start neither smaller nor narrower nor shallower"
