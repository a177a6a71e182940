"""The proxy: a small network whose features and training dynamics selection methods use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from shoestring.config import registry
from shoestring.config.plan import TrainPlan
from shoestring.config.recipe import Select, Train
from shoestring.data import Images
from shoestring.errors import UserError
from shoestring.models.model import Model
from shoestring.planning.model import Network, build_network
from shoestring.planning.plan import allotment_of, plan_training
from shoestring.planning.profiling import Profiler
from shoestring.selection import Pool, Signals

PROXY = Train(model="convnet", width=0.5)
_TRIAL_IMAGES = 8  # for testing whether a method needs a proxy


@dataclass(frozen=True)
class Proxy:
    """A proxy, and how it is trained."""

    model: Model
    plan: TrainPlan


def needs_proxy(settings: Select, images: Images) -> bool:
    """Return whether selecting from these images trains a proxy; tested by running the method on a few images.

    The method of the settings is not "auto".
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
    except (_SignalsUsed, UserError):
        return True
    return False


def build_proxy(images: Images, *, seed: int) -> Model:
    """Return a new proxy for these images."""
    return build_network(Network("convnet", {"width": PROXY.width}), images, PROXY, seed=seed)


def plan_proxy(images: Images, profiler: Profiler) -> Proxy:
    """Return the proxy, planned for training on all images in the part of the budget allotted to selection."""
    if profiler.context.distributed is not None:  # one process trains it, as its dynamics are recorded there
        profiler = Profiler(profiler.budget, replace(profiler.context, distributed=None))
    model = build_proxy(images, seed=profiler.context.seed)
    allotment = replace(allotment_of(profiler.budget, "select", count=len(images)), lr_range=(0.0, 1.0))
    return Proxy(model, plan_training(model, images, PROXY, allotment, profiler))


class _SignalsUsed(Exception):
    """A method used the signals of a proxy."""


def _raise() -> Signals:
    raise _SignalsUsed
