"""Probe: a head that is fitted to the features of a frozen network, a linear one by logistic regression."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shoestring.data.images import Images
from shoestring.models.features import cached_features
from shoestring.models.head_modules import CosineHead, Head
from shoestring.models.heads import head_module
from shoestring.models.inference import embed
from shoestring.models.model import Model
from shoestring.tasks import MULTI_LABEL
from shoestring.training.heads.class_means import fit_class_means
from shoestring.training.heads.label_probes import fit_label_probes
from shoestring.training.heads.logistic_regression import fit_probe
from shoestring.training.heads.on_features import train_on_features, training_flops

MIN_PROBED = 64  # images that a head is fitted to at least


def some_of_each_class(images: Images, count: int, *, seed: int) -> Images:
    """Return `count` of the images, drawn at random, as equally many of each class or label as there are."""
    order = np.random.default_rng(seed).permutation(len(images))
    labels = images.targets[order]
    rank = np.arange(len(order))  # of images without labels
    for index in range(len(images.classes)):
        rows = np.flatnonzero(images.task.has(labels, index))
        rank[rows] = np.minimum(rank[rows], np.arange(len(rows)))  # within the class
    return images[order[np.argsort(rank, kind="stable")[:count]]]


def method_of(model: Model) -> str:
    """Return how the head of a model is fitted to features, in words."""
    head = head_module(model.module, model.heads)
    if not isinstance(head, Head):
        return "logistic regression"
    return "class means" if isinstance(head, CosineHead) and not head.is_learned else "adamw"


def head_flops(model: Model, count: int) -> float:
    """Return the FLOPs of fitting the head to features of `count` images: those of training, others are negligible."""
    head = head_module(model.module, model.heads)
    return training_flops(head, count) if isinstance(head, Head) and method_of(model) == "adamw" else 0.0


@torch.no_grad()
def probe_head(
    model: Model, images: Images, *, precision: str = "float32", seed: int = 0, seconds: float | None = None
) -> NDArray[np.float32]:
    """Fit the head of a model to the features of these images, in place; return the features (N, D).

    The features are those of the images as they are, without augmentation; they are cached. A linear head becomes a
    logistic regression. It takes features of any length, so its weights are divided by the mean length. The head
    "prototype" is set to the means of the classes, "cosine" is trained from there, and "mlp" from the beginning. If
    `seconds` are given, computing the features takes about as long at most, and fitting as long again: if time is too
    short, the head is fitted to the features of the first images, 64 or more, which are returned.
    """
    head = head_module(model.module, model.heads)
    end = math.inf if seconds is None else time.monotonic() + seconds

    def late(done: int) -> bool:
        return done >= MIN_PROBED and time.monotonic() >= end

    def compute() -> NDArray[np.float32]:
        return embed(model, images, precision=precision, normalize=False, stop=late)[0]

    features = cached_features(model, images, compute, variant=precision)
    images = images[: len(features)]
    about: dict[str, Any] = {"sample_weight": images.weights, "seed": seed}
    if isinstance(head, CosineHead):
        fit_class_means(head, features, images.targets, **about)
    if isinstance(head, Head):
        if method_of(model) == "adamw":
            train_on_features(head, features, images.targets, seconds=seconds, **about)
        return features
    length = float(np.linalg.norm(features, axis=1).mean()) or 1.0
    about |= {"classes": len(model.classes), "seconds": seconds}
    if images.task == MULTI_LABEL:
        weights, biases = fit_label_probes(features / length, images.targets, **about)
    else:
        weights, biases = fit_probe(features / length, images.targets, **about)
    _assign(head, torch.from_numpy(weights / length), torch.from_numpy(biases))
    return features


def _assign(layer: nn.Module, weights: Tensor, biases: Tensor) -> None:
    own = layer.weight
    assert isinstance(own, Tensor)
    own.copy_(weights.view_as(own))
    if isinstance(layer.bias, Tensor):
        layer.bias.copy_(biases)
