"""The small network that selection methods learn from: when one is trained, and what it tells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.special import softmax

from shoestring import registry
from shoestring.budget import Budget
from shoestring.context import Context
from shoestring.data import Images
from shoestring.errors import UserError
from shoestring.models.inference import embed
from shoestring.recipe import Select, Train
from shoestring.select import Pool, Signals
from shoestring.train.choose import choose_model
from shoestring.train.dynamics import Recorder, margins
from shoestring.train.loop import fit

PROXY = Train(model="convnet", width=0.5)
_TRIED = 8  # images that a method is tried on
_FEW = 0.05  # share of the images up to which choosing the easy ones pays


def default_method(examples: int, count: int) -> str:
    """The method that measures best when a network is trained from scratch on so many of `count` images.

    Of few images the easy ones teach most; where a larger share is taken, random ones do better and cost nothing.
    """
    return "margin" if examples <= _FEW * count else "random"


def signals_of(images: Images, file: str | None, budget: Budget, context: Context) -> Signals:
    """What a proxy tells about all images: read from the file when it is there, else found out and kept there."""
    if file is not None and Path(file).exists():
        context.say(f"signals: read from {file}")
        return Signals.load(Path(file), images.fingerprint)
    found = _train_proxy(images, budget, context)
    if file is not None:
        found.save(Path(file), images.fingerprint)
    return found


def needs_proxy(settings: Select, images: Images) -> bool:
    """Whether choosing from these images trains a proxy: the method is tried on a few to see what it asks for."""
    assert settings.examples is not None
    if settings.signals is not None and Path(settings.signals).exists():
        return False
    if settings.within is not None:
        return True
    method = default_method(settings.examples, len(images)) if settings.method == "auto" else settings.method
    options = registry.bind("select", method, settings.options, without=("rng",))
    try:
        registry.find("select", method)(Pool(images[:_TRIED], _asked), 1, rng=np.random.default_rng(0), **options)
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
    model = choose_model(images, settings, context=context, seconds=None)
    recorder = Recorder(len(images), context.device)
    budget.owe("embed", images=len(images))
    went = fit(model, images, budget.window("select"), settings=settings, context=context, record=recorder)
    context.say(f"proxy: {model.name}, {went.epochs:.1f} epochs, {went.precision}")
    found = recorder.result()
    features, logits = embed(model, images, precision=went.precision)
    budget.settle("embed")
    final = margins(logits, images.targets)
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
