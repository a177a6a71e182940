"""Plan how a network is trained: every answer that a recipe leaves open is found here, once, before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from shoestring.budget import WEIGHTS, Budget
from shoestring.config.plan import TRAINING_FLOPS_PER_MAC, StepTimes, TrainPlan
from shoestring.config.recipe import Grow, Prune, Train
from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.evaluation.cost import count_macs
from shoestring.growth import Schedule
from shoestring.growth.compose import compose
from shoestring.models.model import Model
from shoestring.planning.defaults import augmentation, default_batch_size, fitting_batch_size
from shoestring.planning.growth import choose_growth, requested_schedule
from shoestring.planning.model import Network, build_network, choose_network
from shoestring.planning.optimizer import choose_optimizer, peak_rates
from shoestring.planning.profiling import Profiler
from shoestring.runtime.context import Context
from shoestring.runtime.threads import set_threads
from shoestring.training.checkpoint import Checkpoint, Saved

_COST = 0.65  # seconds per step grow with this power of the MACs
_FINE_TUNING = 0.1  # fraction of the default learning rate for a network that starts from trained weights


@dataclass(frozen=True)
class Stretch:
    """The part of a budget that a training may use, in the unit of the budget, and its number of images.

    `full_size` is the number of seconds in which the unpruned network could do the work of training and recovery: more
    than the time left if it is pruned, as it then trains faster. It is None if the budget is not a time.
    """

    count: int
    length: float
    full_size: float | None
    lr_range: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Planned:
    """The plan of a training, the network built for it, and the reasons of the answers by their names."""

    network: Network
    model: Model
    train: TrainPlan
    reasons: dict[str, str]

    def built_for(self, images: Images, planner: Planner) -> Planned:
        """The same plan, with the network built for these images: its first layer may be computed from them."""
        return replace(self, model=planner.build(self.network, images))


class Planner:
    """Plans the training of one network, and plans it again when steps take longer than planned.

    A training that was interrupted keeps its plan, and a longer one of the schedule "anytime" its network.
    """

    def __init__(
        self, settings: Train, grow: Grow, profiler: Profiler, context: Context, *, later: Prune | None = None
    ) -> None:
        if settings.precision == "float16" and context.device.startswith("cpu"):
            raise UserError("float16 is for accelerators; processors crawl with it. Use --precision bfloat16 or auto.")
        self.settings, self.grow, self.profiler, self.context, self.later = settings, grow, profiler, context, later

    def __call__(self, images: Images, stretch: Stretch, *, load: float | None = None) -> Planned:
        """The plan for training on images like these.

        `load` is the measured over the profiled time of a step of a training that is planned again. Raises `UserError`
        for settings that the network or the images do not allow.
        """
        if load is None and (saved := self.saved) is not None:
            return self._continued(images, stretch, saved)
        settings, seconds, load = self.settings, stretch.full_size, load or 1.0
        network = choose_network(
            images, settings, count=stretch.count, seconds=seconds, profiler=self.profiler, load=load
        )
        model, reasons = self.build(network, images), {"model": network.reason}
        if settings.model == "auto":
            width = f", width {network.options['width']:g}" if "width" in network.options else ""
            self.context.log(f"model {network.name}{width}: {network.reason}")
        if self.grow.is_auto:
            schedule, reasons["grow"] = self._growth(model, images, stretch, load)
            if seconds is not None:
                self.context.log(f"grow {schedule.text}: {reasons['grow']}")
        else:
            schedule, reasons["grow"] = requested_schedule(self.grow, settings), "as requested"
        train = plan_training(model, images, settings, stretch, self.profiler, schedule=schedule, load=load)
        train = replace(train, grow_options=dict(self.grow.options))
        return Planned(network, model, train, reasons | _reasons(settings))

    @cached_property
    def saved(self) -> Saved | None:
        """The training that was started in the folder of the context, if there is one."""
        return Checkpoint(self.context.folder).load()

    def build(self, network: Network, images: Images) -> Model:
        """The network for these images; see `build_network`."""
        return build_network(network, images, self.settings, seed=self.context.seed)

    def _growth(self, model: Model, images: Images, stretch: Stretch, load: float) -> tuple[Schedule, str]:
        """The schedule "auto", and the reason. The network is profiled only where it could grow."""
        settings, seconds, times = self.settings, None, StepTimes()
        if stretch.full_size is not None:
            seconds = stretch.length / load
            if settings.weights is None and settings.model != "auto":
                size = settings.batch_size or default_batch_size(stretch.count, self.context.device)
                times = self.profiler(model, images, settings, batch_size=size).times
        optimizer = choose_optimizer(model, settings)
        return choose_growth(model, settings, optimizer, count=stretch.count, seconds=seconds, times=times)

    def _continued(self, images: Images, stretch: Stretch, saved: Saved) -> Planned:
        """The plan of the saved training; extended if it had ended and the budget is larger now."""
        network = Network(*saved.network, "the network of the saved training")
        model, train = self.build(network, images), saved.plan
        if saved.can_extend(self.profiler.budget.total):
            profile = self.profiler(model, images, self.settings, batch_size=train.batch_size)
            seen = saved.images_seen / stretch.count
            epochs = _epochs(model, replace(train, times=profile.times), stretch, self.profiler.budget) + seen
            changes = augmentation(self.settings, stretch.count, mirrored=images.mirrored, epochs=epochs)
            train = replace(train, extended=True, augment=changes, times=profile.times)
        return Planned(network, model, train, {"model": network.reason, "grow": "as before"})


def plan_training(
    model: Model,
    images: Images,
    settings: Train,
    stretch: Stretch,
    profiler: Profiler,
    *,
    schedule: Schedule | None = None,
    load: float = 1.0,
) -> TrainPlan:
    """The plan for training this network on images like these, which grows by the schedule (not at all if None)."""
    schedule = schedule or compose("constant")
    size = min(settings.batch_size or default_batch_size(stretch.count, profiler.context.device), stretch.count)
    profile = profiler(model, images, settings, batch_size=size)
    if profile.threads is not None:
        set_threads(profile.threads)
    if settings.batch_size is None and profiler.budget.unit == "seconds":
        side = model.preprocessing.resolution
        size = fitting_batch_size(size, stretch.length / load, profile.times, schedule, side)
    optimizer = choose_optimizer(model, settings)
    rate, decay = peak_rates(model, settings, optimizer, batch_size=size)
    plan = TrainPlan(
        size,
        profile.precision,
        optimizer,
        learning_rate=rate * (1.0 if settings.weights is None else _FINE_TUNING),
        weight_decay=decay,
        schedule=settings.schedule,
        extendable=settings.schedule == "anytime" and stretch.lr_range[0] == 0,
        lr_range=stretch.lr_range,
        label_smoothing=settings.label_smoothing,
        ema=settings.ema,
        patience=settings.patience,
        grow=schedule.definition,
        times=profile.times,
    )
    epochs = _epochs(model, plan, stretch, profiler.budget)
    return replace(plan, augment=augmentation(settings, stretch.count, mirrored=images.mirrored, epochs=epochs))


def _epochs(model: Model, plan: TrainPlan, stretch: Stretch, budget: Budget) -> float:
    """Epochs of the whole network that fit."""
    size = plan.batch_size
    if budget.unit == "epochs":
        return stretch.length
    price = plan.times.step(size) if budget.unit == "seconds" else TRAINING_FLOPS_PER_MAC * count_macs(model) * size
    return stretch.length / price * size / stretch.count


def _reasons(settings: Train) -> dict[str, str]:
    """The reasons of the other answers."""
    given = {"optimizer": settings.optimizer, "precision": settings.precision}
    reasons = {name: "by the network" if name == "optimizer" else "measured" for name in given}
    reasons |= {name: "as requested" for name, value in given.items() if value != "auto"}
    reasons["batch_size"] = "by images and time" if settings.batch_size is None else "as requested"
    reasons["augment"] = "by images and epochs, where not requested"
    return reasons


def stretch_of(
    budget: Budget, step: str, *, count: int, later: Prune | None = None, pending: Sequence[str] = ()
) -> Stretch:
    """What a step may use of the remaining budget; earlier steps are done, except `pending` ones, which use their part.

    One learning-rate schedule covers training and recovery: a network that will be pruned is not annealed before, and
    one that was trained elsewhere continues where it would have been pruned.
    """
    order = list(budget.weights)
    after = order[order.index(step) :] if step in order else []
    weights = sum(budget.weights[name] for name in after)
    waiting = sum(budget.weights[name] for name in pending)
    remaining = budget.remaining * (weights / (weights + waiting) if waiting else 1.0)
    length = remaining * (budget.weights[step] / weights if after else 1.0)
    whole = WEIGHTS | budget.weights
    cut = whole["train"] / (whole["train"] + whole["prune"])
    lr_range = (cut, 1.0) if step == "prune" else (0.0, cut if "prune" in budget.weights else 1.0)
    full_size = None
    if budget.unit == "seconds":
        target = None if later is None else later.macs
        fraction = target.value if target is not None and target.is_fraction else 1.0
        full_size = remaining * (lr_range[1] + (1 - lr_range[1]) / fraction**_COST)
    return Stretch(count, length, full_size, lr_range)
