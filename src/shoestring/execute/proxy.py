"""Train the proxy of a selection, and compute the signals and features that methods use."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from shoestring.budget import Budget
from shoestring.config.recipe import Select
from shoestring.data import Images
from shoestring.errors import UserError
from shoestring.models.inference import embed
from shoestring.planning.profiling import Profiler
from shoestring.planning.proxy import Proxy, plan_proxy
from shoestring.runtime.context import Context
from shoestring.selection import Pool, Signals
from shoestring.selection.features import load_features
from shoestring.training.dynamics import Recorder, margins
from shoestring.training.loop import Hooks, fit


def pool_of(images: Images, settings: Select, budget: Budget, context: Context, proxy: Proxy | None = None) -> Pool:
    """Return the pool of images to select from, with the features and signals of the settings.

    The proxy is planned when it is needed if there is none.
    """
    features = settings.features
    load = None if features is None else partial(load_features, features, images, budget, context)
    return Pool(images, partial(signals_of, images, settings, budget, context, proxy), load, context.device)


def signals_of(
    images: Images, settings: Select, budget: Budget, context: Context, proxy: Proxy | None = None
) -> Signals:
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
    proxy = proxy or plan_proxy(images, settings, Profiler(budget, context))
    signals = _train_proxy(proxy, images, budget, context, epochs=settings.proxy_epochs)
    if file is not None:
        signals.save(file, images.fingerprint)
    return signals


def _train_proxy(
    proxy: Proxy, images: Images, budget: Budget, context: Context, *, epochs: float | None = None
) -> Signals:
    """Train a proxy on all images, record its training dynamics, and compute its features and margins.

    Images with several labels each have features only. The proxy is trained for so many epochs, or else in its part of
    the budget.
    """
    context = replace(context, distributed=None)  # a recorder records the images of one process
    model = proxy.build(images, seed=context.seed)
    recorder = Recorder(len(images), context.device) if images.has_one_class_each else None
    budget.reserve("embed", images=len(images))
    context.log(f"training a proxy network on {len(images):,} images")
    part = budget if epochs is None else Budget(epochs=epochs, steps=("select",))
    summary = fit(model, images, part.window("select"), proxy.plan, context, Hooks(record=recorder))
    if part is not budget:
        budget.release("select")
    context.log(f"proxy: {model.name}, {summary.epochs:.1f} epochs, {summary.precision}")
    features, logits = embed(model, images, precision=summary.precision)
    budget.release("embed")
    if recorder is None:
        return Signals(features)
    from scipy.special import softmax

    dynamics = recorder.result()
    final = margins(logits, images.targets)
    if (final > 0).mean() <= images.counts().max() / len(images):
        context.log(
            "warning: the proxy network is no more accurate than always predicting the most frequent class; "
            "a selection based on it is of little use"
        )
    return Signals(
        features,
        dynamics.forgotten,
        dynamics.learned,
        dynamics.margin,
        final,
        dynamics.confidence,
        dynamics.error,
        dynamics.gradient,
        softmax(logits, axis=1),
    )
