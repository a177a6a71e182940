"""The proxy model: a small network whose features and training dynamics are used by selection methods."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import softmax

from shoestring.budget import Budget
from shoestring.config import registry
from shoestring.config.recipe import Select, Train
from shoestring.data import Images
from shoestring.errors import UserError
from shoestring.models.inference import embed
from shoestring.planning.model import Network, build_network
from shoestring.planning.plan import allotment_of, plan_training
from shoestring.planning.profiling import Profiler
from shoestring.runtime.context import Context
from shoestring.selection import Pool, Signals
from shoestring.selection.features import load_features
from shoestring.training.dynamics import Recorder, margins
from shoestring.training.loop import Hooks, fit

PROXY = Train(model="convnet", width=0.5)
_TRIAL_IMAGES = 8  # for testing whether a method needs a proxy


def pool_of(images: Images, settings: Select, budget: Budget, context: Context) -> Pool:
    """Return the pool of images to select from, with the features and signals of the settings."""
    features = settings.features
    load = None if features is None else partial(load_features, features, images, budget, context)
    return Pool(images, partial(signals_of, images, settings, budget, context), load, context.device)


def signals_of(images: Images, settings: Select, budget: Budget, context: Context) -> Signals:
    """Return the signals of a proxy model for all images, read from the file `settings.signals` if it exists.

    Otherwise they are computed, and saved if a file is set. Raises `UserError` for images without labels.
    """
    if images.labels is None:
        source = "--within" if settings.within else "--drop-suspects" if settings.drop_suspects else settings.method
        features = "" if settings.features else "pass --features, and "
        advice = "omit it" if source.startswith("--") else "use a method that needs no labels: facility_location"
        raise UserError(f"{source} needs a network trained on labels, and these images have none: {features}{advice}.")
    file = None if settings.signals is None else Path(settings.signals)
    if file is not None and file.exists():
        context.log(f"signals: read from {file}")
        return Signals.load(file, images.fingerprint)
    signals = _train_proxy(images, budget, context)
    if file is not None:
        signals.save(file, images.fingerprint)
    return signals


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


class _SignalsUsed(Exception):
    """A method used the signals of a proxy."""


def _raise() -> Signals:
    raise _SignalsUsed


def _train_proxy(images: Images, budget: Budget, context: Context) -> Signals:
    """Train a proxy on all images, record its training dynamics, and compute its features and margins."""
    settings = PROXY
    context = replace(context, distributed=None)  # a recorder records the images of one process
    profiler = Profiler(budget, context)
    model = build_network(Network(settings.model, {"width": settings.width}), images, settings, seed=context.seed)
    recorder = Recorder(len(images), context.device)
    budget.reserve("embed", images=len(images))
    context.log(f"training a proxy network on {len(images):,} images")
    allotment = replace(allotment_of(budget, "select", count=len(images)), lr_range=(0.0, 1.0))
    plan = plan_training(model, images, settings, allotment, profiler)
    summary = fit(model, images, budget.window("select"), plan, context, Hooks(record=recorder))
    context.log(f"proxy: {model.name}, {summary.epochs:.1f} epochs, {summary.precision}")
    dynamics = recorder.result()
    features, logits = embed(model, images, precision=summary.precision)
    budget.release("embed")
    final = margins(logits, images.targets)
    if (final > 0).mean() <= images.counts().max() / len(images):
        context.log(
            "warning: the proxy network is no more accurate than always predicting the most frequent class; "
            "a selection based on it is of little use"
        )
    return Signals(
        features,
        dynamics.forgotten,
        dynamics.learnt,
        dynamics.margin,
        final,
        dynamics.confidence,
        dynamics.error,
        dynamics.gradient,
        softmax(logits, axis=1),
    )
