"""What is decided before a step trains: its network, how it grows, its stretch of the learning rate's schedule."""

from __future__ import annotations

from functools import partial

from shoestring.budget import WEIGHTS, Budget, Window
from shoestring.config.recipe import Grow, Prune, Train
from shoestring.config.units import parse_quantity
from shoestring.data import Images
from shoestring.errors import UserError
from shoestring.growth import Schedule
from shoestring.growth.compose import compose
from shoestring.models.model import Model
from shoestring.planning.growth import choose_growth
from shoestring.planning.model import choose_model
from shoestring.planning.outlook import Outlook, look_ahead
from shoestring.runtime.context import Context
from shoestring.training.checkpoint import Checkpoint
from shoestring.training.setup import begin

_COST = 0.65  # seconds a step grow with this power of the MACs
_PRETRAINED = 0.1  # a network that starts from trained weights is trained with this share of the usual learning rate


def planned(
    images: Images,
    settings: Train,
    grow: Grow,
    window: Window,
    context: Context,
    later: Prune | None,
    *,
    anew: bool = False,
) -> tuple[Model, Schedule]:
    """The network and how it grows: as they were when the training was begun, for by now others would fit the time.

    With `anew` what was begun does not count.
    """
    begun = None if anew else Checkpoint(context.folder).begun()
    budget = window.budget
    seconds = _time_at_full_size(budget, later)
    seconds = None if seconds is None else seconds / budget.load
    around = {"context": context, "seconds": seconds, "timings": budget.timings}
    model = choose_model(images, settings, network=begun and begun[:2], **around)
    if grow.method != "auto" or grow.stages is not None:
        return model, schedule_of(grow, settings)
    if begun is not None:
        return model, compose(begun[2], {})
    left = window.remaining / budget.load if budget.unit == "seconds" else None
    around = {"context": context, "seconds": left, "timings": budget.timings}
    return model, choose_growth(model, images, settings, **around)


class FirstPlan:
    """The network and the growth of a training, which `anew` replaces where steps take another time than planned."""

    def __init__(
        self, images: Images, settings: Train, grow: Grow, window: Window, context: Context, later: Prune | None
    ) -> None:
        self._plan = partial(planned, images, settings, grow, window, context, later)
        self._budget, self._context = window.budget, context
        self._state = Checkpoint(context.folder)
        self._settled = context.distributed is not None or self._state.begun() is not None
        self.model, self.schedule = self._plan()

    def anew(self, ratio: float) -> bool:
        """Plan with steps that take `ratio` times the planned seconds; whether that is another plan.

        A training that was interrupted keeps its plan, and so do processes that train together.
        """
        if self._settled:
            return False
        self._budget.load = ratio
        model, schedule = self._plan(anew=True)
        if (model.options, schedule.text) == (self.model.options, self.schedule.text):
            self._budget.load = 1.0
            return False
        self._state.remove()
        self._context.log(f"steps take {ratio:.1f} times the planned seconds: training begins anew with another plan")
        self.model, self.schedule = model, schedule
        return True


def plan_train(
    images: Images, settings: Train, grow: Grow, *, window: Window, context: Context, later: Prune | None = None
) -> Outlook:
    """What training inside this window would be like, found out without training."""
    model, schedule = planned(images, settings, grow, window, context, later)
    around = {"settings": settings, "context": context, "schedule": schedule}
    return look_ahead(begin(model, images, window, scale=scale_of(settings), saved=None, **around), schedule, window)


def schedule_of(grow: Grow, settings: Train) -> Schedule:
    """How the problem grows; `UserError` for what cannot be, and for weights that a small start would cut."""
    schedule = compose(grow.method, grow.options, grow.stages)
    first = schedule(0.0)
    if settings.weights is not None and min(first.width, first.depth) < 1:
        word, part = ("narrow", "width") if first.width < 1 else ("shallow", "depth")
        raise UserError(
            f"a network that starts {word} starts fresh: leave out --weights, or {part} in --grow or --stages."
        )
    return schedule


def _time_at_full_size(budget: Budget, later: Prune | None) -> float | None:
    """Seconds of training that the whole network could have for the work that fits into training and recovery.

    A network that is cut on the way trains faster from there on. None where time does not count.
    """
    if budget.unit != "seconds":
        return None
    share = parse_quantity(later.macs) if later is not None and later.macs is not None else 1.0
    cut = part_of(budget, "train")[1]
    return budget.remaining * (cut + (1 - cut) / min(share, 1.0) ** _COST)


def scale_of(settings: Train) -> float:
    """Share of the usual learning rate: all of it for a fresh network."""
    return 1.0 if settings.weights is None else _PRETRAINED


def part_of(budget: Budget, step: str) -> tuple[float, float]:
    """The stretch of the learning rate's schedule that a step covers: one schedule runs through training and recovery.

    So a network that will be cut is not annealed before, and one that was trained elsewhere is taken up where it would
    have been cut.
    """
    weights = WEIGHTS | budget.weights
    cut = weights["train"] / (weights["train"] + weights["prune"])
    if step == "prune":
        return cut, 1.0
    return 0.0, cut if "prune" in budget.weights else 1.0
