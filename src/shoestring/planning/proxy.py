"""The small network that selection methods learn from: when one is trained, and what it tells."""

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
from shoestring.planning.plan import plan_training, stretch_of
from shoestring.planning.profiling import Profiler
from shoestring.runtime.context import Context
from shoestring.selection import Pool, Signals
from shoestring.selection.features import load_features
from shoestring.training.dynamics import Recorder, margins
from shoestring.training.loop import Hooks, fit

PROXY = Train(model="convnet", width=0.5)
_TRIED = 8  # images that a method is tried on
_FEW = 0.05  # share of the images up to which choosing the easy ones pays
_COMPARED = 50_000  # images up to which nearest neighbours take seconds, even those of a single class
_COVERED = 20_000  # images up to which the exact facility location does


def method_for(settings: Select, images: Images) -> str:
    """The method asked for, or for "auto" the one that measures best for what will be trained on the images.

    From scratch a few easy images that are not like each other teach most, or of very many images, which would take
    long to compare, the easiest; where a larger share is taken, random ones do as well and cost nothing.
    On pretrained features images whose mean is that of their class did best on validation images
    (benchmarks/results/selection_validation.json), and where there are no labels those are taken that cover the
    others, in one pass where they are many.
    """
    if settings.method != "auto":
        return settings.method
    assert settings.examples is not None
    if images.labels is None:
        return "facility_location" if len(images) <= _COVERED else "streaming"
    if learner(settings) == "features":
        return "herding"
    if settings.examples > _FEW * len(images):
        return "random"
    return "d2" if len(images) <= _COMPARED else "margin"


def learner(settings: Select) -> str:
    """What will be trained on the images: "features" when they are compared by pretrained ones, where nobody says."""
    if settings.learner != "auto":
        return settings.learner
    return "features" if settings.features is not None else "scratch"


def pool_of(images: Images, settings: Select, budget: Budget, context: Context) -> Pool:
    """The images to choose from, with features and signals as the settings say where they come from."""
    features = settings.features
    own = None if features is None else partial(load_features, features, images, budget, context)
    return Pool(images, partial(signals_of, images, settings, budget, context), own, context.device)


def signals_of(images: Images, settings: Select, budget: Budget, context: Context) -> Signals:
    """What a proxy tells about all images: read from the file when it is there, else found out and kept there."""
    if images.labels is None:
        asks = "--within" if settings.within else "--drop-suspects" if settings.drop_suspects else settings.method
        compared = "" if settings.features else "say what they are compared by with --features, and "
        advice = "leave it out" if asks.startswith("--") else "take one that needs nothing else: facility_location"
        raise UserError(f"{asks} needs a network trained on labels, and these images have none: {compared}{advice}.")
    file = None if settings.signals is None else Path(settings.signals)
    if file is not None and file.exists():
        context.log(f"signals: read from {file}")
        return Signals.load(file, images.fingerprint)
    found = _train_proxy(images, budget, context)
    if file is not None:
        found.save(file, images.fingerprint)
    return found


def needs_proxy(settings: Select, images: Images) -> bool:
    """Whether choosing from these images trains a proxy: the method is tried on a few to see what it asks for."""
    if settings.signals is not None and Path(settings.signals).exists():
        return False
    if settings.within is not None or settings.drop_suspects:
        return True
    method = method_for(settings, images)
    options = registry.bind("select", method, settings.options)
    few = images[:_TRIED]
    given = None if settings.features is None else partial(np.eye, len(few), dtype=np.float32)
    try:
        registry.find("select", method)(Pool(few, _asked, given), 1, rng=np.random.default_rng(0), **options)
    except (_Asked, UserError):
        return True
    return False


class _Asked(Exception):
    """A method asked for what a proxy tells."""


def _asked() -> Signals:
    raise _Asked


def _train_proxy(images: Images, budget: Budget, context: Context) -> Signals:
    """Train a proxy on all images and note what it forgets; then take its features and margins."""
    settings = PROXY
    context = replace(context, distributed=None)  # a recorder sees the images of one process
    profiler = Profiler(budget, context)
    model = build_network(Network(settings.model, {"width": settings.width}), images, settings, seed=context.seed)
    recorder = Recorder(len(images), context.device)
    budget.reserve("embed", images=len(images))
    context.log(f"training a proxy network on {len(images):,} images")
    stretch = replace(stretch_of(budget, "select", count=len(images)), lr_range=(0.0, 1.0))
    plan = plan_training(model, images, settings, stretch, profiler)
    went = fit(model, images, budget.window("select"), plan, context, Hooks(record=recorder))
    context.log(f"proxy: {model.name}, {went.epochs:.1f} epochs, {went.precision}")
    found = recorder.result()
    features, logits = embed(model, images, precision=went.precision)
    budget.release("embed")
    final = margins(logits, images.targets)
    if (final > 0).mean() <= images.counts().max() / len(images):
        context.log(
            "warning: the proxy network tells the classes apart no better than always naming the most frequent one; "
            "what it says about the images is of little use"
        )
    return Signals(
        features,
        found.forgotten,
        found.learnt,
        found.margin,
        final,
        found.confidence,
        found.error,
        found.gradient,
        softmax(logits, axis=1),
    )
