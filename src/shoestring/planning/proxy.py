"""The proxy: a network whose features and training dynamics selection methods use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from shoestring.budget import Budget
from shoestring.config import registry
from shoestring.config.plan import TrainPlan
from shoestring.config.recipe import Select, Train
from shoestring.data import Images
from shoestring.errors import UserError
from shoestring.models.model import Model
from shoestring.planning.model import Network, build_network, choose_network, measured_network
from shoestring.planning.plan import Allotment, allotment_of, plan_training
from shoestring.planning.pretrained import NEW_HEAD_FACTOR, with_weights
from shoestring.planning.profiling import Profiler
from shoestring.selection import Pool, Signals
from shoestring.selection.pool import NeedsOneClass
from shoestring.training.setup import MIN_STEPS

PROXY = Train(model="convnet", width=0.5)
_TRIAL_IMAGES = 8  # for testing whether a method needs a proxy


@dataclass(frozen=True)
class Proxy:
    """A proxy: its network, the settings of its training, and the plan that they led to."""

    network: Network
    settings: Train
    plan: TrainPlan

    def build(self, images: Images, *, seed: int) -> Model:
        """Return a new model to train on these images."""
        return build_network(self.network, images, self.settings, seed=seed)


def needs_proxy(settings: Select, images: Images) -> bool:
    """Return whether selecting from these images trains a proxy; tested by running the method on a few images.

    The method of the settings is not "auto". Raises `UserError` for a method that needs one class for each image, if
    they have several labels.
    """
    if settings.signals is not None and Path(settings.signals).exists():
        return False
    if settings.within is not None or settings.drop_suspects:
        return True
    options = registry.bind("select", settings.method, settings.options)
    sample = images[:_TRIAL_IMAGES]
    features = None if settings.features is None else partial(np.eye, len(sample), dtype=np.float32)
    pool, rng = Pool(sample, _raise, features), np.random.default_rng(0)
    try:
        registry.find("select", settings.method)(pool, 1, rng=rng, **options)
    except NeedsOneClass:
        raise NeedsOneClass(settings.method) from None
    except (_SignalsUsed, UserError):
        return True
    return False


def proxy_settings(settings: Select) -> Train:
    """Return the settings of the proxy's training: a small convnet, unless a network is requested.

    Raises `UserError` for weights without a network, and for blocks to tune without weights.
    """
    if settings.proxy == "auto" and settings.proxy_weights not in (None, "none"):
        raise UserError("--proxy-weights are those of a network: name it with --proxy.")
    train = PROXY if settings.proxy == "auto" else with_weights(Train(settings.proxy, weights=settings.proxy_weights))
    if settings.proxy_tune != "auto" and not train.starts_from_weights:
        raise UserError(
            "--proxy-tune names blocks of a pretrained network: set --proxy to a timm model, or --proxy-weights."
        )
    return replace(train, tune=settings.proxy_tune)


def measured_proxy(images: Images, settings: Select, profiler: Profiler) -> Model:
    """Return a network like the proxy for these images, to measure; see `measured_network`."""
    train = proxy_settings(settings)
    return measured_network(_proxy_network(images, train, profiler), images, train, profiler)


def planned_proxy(images: Images, settings: Select, profiler: Profiler, plan: TrainPlan) -> Proxy:
    """Return the proxy that is trained by a plan made before."""
    train = proxy_settings(settings)
    return Proxy(_proxy_network(images, train, profiler, side=plan.side), train, plan)


def _proxy_network(images: Images, train: Train, profiler: Profiler, *, side: int | None = None) -> Network:
    """The network of a proxy; a pretrained one takes images of `side` pixels (None: a default)."""
    network = choose_network(images, train, count=len(images), seconds=None, profiler=profiler)
    return replace(network, side=side or network.side)


def plan_proxy(images: Images, settings: Select, profiler: Profiler) -> Proxy:
    """Return the proxy, planned for training on all images.

    It is trained for the epochs of the settings, whose time is reserved if the budget is a time; otherwise in the part
    of the budget allotted to selection.
    """
    if profiler.context.distributed is not None:  # one process trains it, as its dynamics are recorded there
        profiler = Profiler(profiler.budget, replace(profiler.context, distributed=None))
    train, epochs, timed = proxy_settings(settings), settings.proxy_epochs, profiler.budget.unit == "seconds"
    allotment = replace(allotment_of(profiler.budget, "select", count=len(images)), lr_range=(0.0, 1.0))
    side = None
    if epochs is None and timed and train.starts_from_weights:
        seconds = allotment.length
        side = choose_network(images, train, count=len(images), seconds=seconds, profiler=profiler).side
    network = _proxy_network(images, train, profiler, side=side)
    model = measured_network(network, images, train, profiler)
    if epochs is None:
        plan = plan_training(model, images, train, allotment, profiler)
    else:
        counted = Profiler(Budget(epochs=epochs, steps=("select",)), profiler.context)
        plan = plan_training(model, images, train, Allotment(len(images), epochs, None), counted)
        _check_epochs(epochs, plan.batch_size, len(images))
        profile = profiler(model, images, train, batch_size=plan.batch_size)
        plan = replace(plan, precision=profile.precision, times=profile.times)
        reserve_proxy(profiler.budget, plan, images, epochs)
    if plan.fine_tune is not None:  # its head is trained like the rest, so that there are dynamics to record
        plan = replace(plan, fine_tune=replace(plan.fine_tune, probe=False, head_factor=NEW_HEAD_FACTOR))
    return Proxy(network, train, plan)


def _check_epochs(epochs: float, batch_size: int, count: int) -> None:
    """Raise `UserError` if so many epochs of `count` images are fewer than ten training steps."""
    least = MIN_STEPS * batch_size / count
    if epochs < least:
        raise UserError(
            f"--proxy-epochs {epochs:g} is too few: {MIN_STEPS} training steps need --proxy-epochs {least:.3g}."
        )


def reserve_proxy(budget: Budget, plan: TrainPlan, images: Images, epochs: float | None) -> None:
    """Reserve the time for so many epochs of the proxy, if the budget is a time."""
    if epochs is not None and budget.unit == "seconds":
        budget.reserve("select", epochs * len(images) / plan.batch_size * plan.times.step(plan.batch_size))


class _SignalsUsed(Exception):
    """A method used the signals of a proxy."""


def _raise() -> Signals:
    raise _SignalsUsed
