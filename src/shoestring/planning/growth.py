"""How a network grows when nobody says: only where the time is too short to see each image often enough."""

from __future__ import annotations

from typing import Any

from shoestring.config.recipe import Train
from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.growth import Schedule
from shoestring.growth.compose import compose
from shoestring.models.model import Model
from shoestring.runtime.context import Context
from shoestring.training import defaults
from shoestring.training.optimizers.optimizer import name_of
from shoestring.training.profiling import calibrate, few_of
from shoestring.training.setup import prepare_growth

_OFTEN = 2.0  # passes over the images: far fewer make growing pay, and with five it does not (docs/growth.md)
_ENOUGH = 50_000  # images seen, each time counted, from which Muon, which learns more from few, does as well without
_WAYS = ("resolution,width,depth", "resolution,width", "resolution,depth", "resolution", "width", "depth")
_TIMED_IMAGES = 16
_TIMED = 0.01  # share of the time that may go into timing a step


def choose_growth(
    model: Model,
    images: Images,
    settings: Train,
    *,
    context: Context,
    seconds: float | None,
    timings: dict[Any, Any] | None = None,
) -> Schedule:
    """The schedule that measures best for this network and so many seconds of training, and `context.say` says why.

    A network that would see few images, each time counted, is trained on smaller images, with fewer channels and blocks
    first, as far as it can be. `seconds` is None where time does not count: nothing grows then, so that runs
    can be repeated. `timings` holds what was timed before, and gets what is timed now.
    """
    constant = compose("constant", {})
    if seconds is None or settings.weights is not None:
        return constant
    if settings.model == "auto":
        context.log("grow constant: a network that fits the time gains nothing by growing")
        return constant
    timings = {} if timings is None else timings
    network = (model.name, str(model.options))
    if network not in timings:
        timings[network] = _price(model, images, settings, context, seconds)
    seen, enough = seconds / timings[network], _OFTEN * len(images)
    if seen >= (min(enough, _ENOUGH) if name_of(model, settings) == "muon" else enough):
        context.log(f"grow constant: the whole {model.name} would see {seen:,.0f} images in the time, which are enough")
        return constant
    for names in _WAYS:
        schedule = compose(names, {})
        try:
            prepare_growth(model, schedule, seed=context.seed)
        except UserError:
            continue
        context.log(f"grow {names}: the whole {model.name} would see {seen:,.0f} images in the time")
        return schedule
    return constant


def _price(model: Model, images: Images, settings: Train, context: Context, seconds: float) -> float:
    """Seconds of training for one image, of all processes that train together, without what a step costs besides."""
    usual = defaults.first_batch_size(len(images), context.device)  # few leave accelerators idle
    count = _TIMED_IMAGES if context.device.startswith("cpu") else settings.batch_size or usual
    batch = few_of(model, images, count, context.device)
    speed = calibrate(model, batch, wanted=settings.precision, limit=_TIMED * seconds, threads=context.threads)
    return speed.train / context.rank_and_size[1]
