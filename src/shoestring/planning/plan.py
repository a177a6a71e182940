"""The plan of a training: resolves every setting that the recipe leaves open, once, before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shoestring.budget import WEIGHTS, Budget
from shoestring.config.plan import TRAINING_FLOPS_PER_MAC, StepTimes, TrainPlan
from shoestring.config.recipe import Grow, Prune, Train
from shoestring.data.images import Images
from shoestring.evaluation.cost import count_macs
from shoestring.growth import Schedule
from shoestring.growth.compose import compose
from shoestring.models.model import Model
from shoestring.planning.defaults import augmentation, default_batch_size, fitting_batch_size
from shoestring.planning.frozen import with_views
from shoestring.planning.growth import choose_growth, requested_schedule
from shoestring.planning.model import Network, build_network, choose_network, measured_network
from shoestring.planning.optimizer import choose_optimizer, peak_rates
from shoestring.planning.pretrained import choose_fine_tuning, is_pretrained
from shoestring.planning.profiling import Profiler
from shoestring.runtime.threads import set_threads
from shoestring.training.checkpoint import Saved

MACS_POWER = 0.65  # seconds per step grow with this power of the MACs


@dataclass(frozen=True)
class Allotment:
    """The part of a budget for a training: `length`, in the unit of the budget, for `count` images.

    `unpruned_seconds` is the time that the unpruned network would need for the work of training and recovery: more than
    the remaining time if it is pruned, because it trains faster then. It is None if the budget is not a time.
    `lr_range` is the part of the learning-rate schedule, from 0 to 1.
    """

    count: int
    length: float
    unpruned_seconds: float | None
    lr_range: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Planned:
    """The plan of a training, and the reasons for its values by name.

    `model` is a network like the one to train, which was measured; it must not be trained.
    """

    network: Network
    model: Model
    train: TrainPlan
    reasons: dict[str, str]

    def built_for(self, images: Images, planner: Planner) -> Planned:
        """Return the same plan with a new model to train on these images; the first layer may depend on them."""
        model = build_network(self.network, images, planner.settings, seed=planner.context.seed)
        return replace(self, model=model)


class Planner:
    """Plan the training of one network, again if steps take longer than planned.

    A training that was `saved` keeps its plan if it was interrupted, and its network if it is extended; `later` is the
    pruning that follows.
    """

    def __init__(
        self,
        settings: Train,
        grow: Grow,
        profiler: Profiler,
        *,
        later: Prune | None = None,
        saved: Saved | None = None,
    ) -> None:
        self.settings, self.grow, self.profiler, self.later, self.saved = settings, grow, profiler, later, saved
        self.context = profiler.context
        self._logged: set[str] = set()

    def __call__(self, images: Images, allotment: Allotment, *, slowdown: float | None = None) -> Planned:
        """Return the plan for training on images like these.

        `slowdown` is the ratio of the measured to the profiled time of a step if a training is planned again. Raises
        `UserError` for settings that the network or the images do not support.
        """
        if slowdown is None and self.saved is not None:
            return self._resume(images, allotment, self.saved)
        settings, seconds, slowdown = self.settings, allotment.unpruned_seconds, slowdown or 1.0
        network = choose_network(
            images, settings, count=allotment.count, seconds=seconds, profiler=self.profiler, slowdown=slowdown
        )
        if network.tune is not None:
            settings = replace(settings, tune=network.tune)
        model, reasons = self.measured(network, images), {"model": network.reason}
        if settings.model == "auto":
            width = f", width {network.options['width']:g}" if "width" in network.options else ""
            self._log(f"model {network.name}{width}: {network.reason}")
        if self.grow.is_auto:
            schedule, reasons["grow"] = self._growth(model, images, allotment, slowdown)
            if seconds is not None:
                self._log(f"grow {schedule.text}: {reasons['grow']}")
        else:
            schedule, reasons["grow"] = requested_schedule(self.grow, settings), "as requested"
        train = plan_training(model, images, settings, allotment, self.profiler, schedule=schedule, slowdown=slowdown)
        train = replace(train, grow_options=dict(self.grow.options))
        return Planned(network, model, train, reasons | _reasons(self.settings, timed=seconds is not None))

    def _log(self, text: str) -> None:
        """Log an answer once, although it may be found again."""
        if text not in self._logged:
            self._logged.add(text)
            self.context.log(text)

    def measured(self, network: Network, images: Images) -> Model:
        """Return a network for these images to measure; see `measured_network`."""
        return measured_network(network, images, self.settings, self.profiler)

    def _growth(self, model: Model, images: Images, allotment: Allotment, slowdown: float) -> tuple[Schedule, str]:
        """The schedule "auto", and the reason. The network is profiled only if it could grow."""
        settings, seconds, times = self.settings, None, StepTimes()
        if allotment.unpruned_seconds is not None:
            seconds = allotment.length / slowdown
            if not settings.starts_from_weights and settings.model != "auto":
                size = settings.batch_size or default_batch_size(allotment.count, self.context.device)
                times = self.profiler(model, images, settings, batch_size=size).times
        optimizer = choose_optimizer(model, settings)
        return choose_growth(model, settings, optimizer, count=allotment.count, seconds=seconds, times=times)

    def _resume(self, images: Images, allotment: Allotment, saved: Saved) -> Planned:
        """The plan of the saved training; extended if it was finished and the budget is larger now."""
        network = Network(*saved.network, "the network of the saved training", saved.plan.side)
        model, train = self.measured(network, images), saved.plan
        if saved.can_extend(self.profiler.budget.total):
            profile = self.profiler(model, images, self.settings, batch_size=train.batch_size)
            seen = saved.images_seen / allotment.count
            epochs = _epochs(model, replace(train, times=profile.times), allotment, self.profiler.budget) + seen
            augment = augmentation(self.settings, allotment.count, mirrored=images.mirrored, epochs=epochs)
            train = replace(train, extended=True, augment=augment, times=profile.times)
        return Planned(network, model, train, {"model": network.reason, "grow": "as before"})


def plan_training(
    model: Model,
    images: Images,
    settings: Train,
    allotment: Allotment,
    profiler: Profiler,
    *,
    schedule: Schedule | None = None,
    slowdown: float = 1.0,
) -> TrainPlan:
    """Return the plan for training a network on images like these; it grows by the schedule (None: not at all).

    `slowdown` is the expected ratio of the time of a step to the profiled one.
    """
    schedule, side = schedule or compose("constant"), model.preprocessing.resolution
    size = settings.batch_size or default_batch_size(
        allotment.count, profiler.context.device, fine_tuned=is_pretrained(settings)
    )
    size = min(size, allotment.count)
    profile = profiler(model, images, settings, batch_size=size)
    if profile.threads is not None:
        set_threads(profile.threads)
    if settings.batch_size is None and profiler.budget.unit == "seconds":
        size = fitting_batch_size(size, allotment.length / slowdown, profile.times, schedule, side)
    optimizer = choose_optimizer(model, settings)
    rate, decay = peak_rates(model, settings, optimizer, batch_size=size)
    plan = TrainPlan(
        size,
        profile.precision,
        optimizer,
        learning_rate=rate,
        weight_decay=decay,
        schedule=settings.schedule,
        extendable=settings.schedule == "anytime" and allotment.lr_range[0] == 0,
        lr_range=allotment.lr_range,
        label_smoothing=settings.label_smoothing,
        class_weights=settings.class_weights,
        ema=settings.ema,
        patience=settings.patience,
        grow=schedule.definition,
        times=profile.times,
    )
    epochs = _epochs(model, plan, allotment, profiler.budget, slowdown)
    augment = augmentation(settings, allotment.count, mirrored=images.mirrored, epochs=epochs)
    fine_tune = choose_fine_tuning(model, settings, epochs=epochs)
    plan = replace(plan, augment=augment, fine_tune=fine_tune, side=side)
    return with_views(plan, model, settings, allotment.count, epochs, allotment.length / slowdown, profiler.budget)


def _epochs(model: Model, plan: TrainPlan, allotment: Allotment, budget: Budget, slowdown: float = 1.0) -> float:
    """Number of epochs in the budget, with the whole network."""
    size = plan.batch_size
    if budget.unit == "epochs":
        return allotment.length
    step_cost = plan.times.step(size) if budget.unit == "seconds" else TRAINING_FLOPS_PER_MAC * count_macs(model) * size
    return allotment.length / (slowdown * step_cost) * size / allotment.count


def _reasons(settings: Train, *, timed: bool) -> dict[str, str]:
    """The reasons for the other answers."""
    requested = {
        "optimizer": settings.optimizer != "auto",
        "precision": settings.precision != "auto",
        "batch_size": settings.batch_size is not None,
        "fine_tune": settings.tune != "auto",
        "augment": any(getattr(settings, name) is not None for name in ("flip", "shift", "cutout", "jitter", "mixup")),
    }
    chosen = {
        "optimizer": "by the kind of network",
        "precision": "the fastest, as measured" if timed else "float32, as the budget is not a time",
        "batch_size": "by the number of images and the time" if timed else "by the number of images",
        "fine_tune": "as many blocks as there is time for",
        "augment": "by the number of images and epochs",
    }
    return {name: "as requested" if requested[name] else reason for name, reason in chosen.items()}


def allotment_of(
    budget: Budget, step: str, *, count: int, later: Prune | None = None, pending: Sequence[str] = ()
) -> Allotment:
    """Return the part of the remaining budget for a step; earlier steps are done, except `pending` ones.

    One learning-rate schedule covers training and recovery: a network that will be pruned is not annealed before. A
    network that was trained elsewhere starts at the point of the schedule at which it would have been pruned.
    """
    order = list(budget.weights)
    later_steps = order[order.index(step) :] if step in order else []
    later_weight = sum(budget.weights[name] for name in later_steps)
    pending_weight = sum(budget.weights.get(name, 0.0) for name in pending)
    remaining = budget.remaining * (later_weight / (later_weight + pending_weight) if pending_weight else 1.0)
    length = remaining * (budget.weights[step] / later_weight if later_steps else 1.0)
    all_weights = WEIGHTS | budget.weights
    boundary = all_weights["train"] / (all_weights["train"] + all_weights["prune"])
    lr_range = (boundary, 1.0) if step == "prune" else (0.0, boundary if "prune" in budget.weights else 1.0)
    unpruned_seconds = None
    if budget.unit == "seconds":
        target = None if later is None else later.macs
        fraction = target.value if target is not None and target.is_fraction else 1.0
        unpruned_seconds = remaining * (lr_range[1] + (1 - lr_range[1]) / fraction**MACS_POWER)
    return Allotment(count, length, unpruned_seconds, lr_range)
