"""Probe: a head that is fitted to the features of a frozen network, a linear one by logistic regression."""

from __future__ import annotations

import warnings
from collections.abc import Callable
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
from shoestring.training.heads.on_features import train_on_features, training_flops

# Inverse strengths of the L2 penalty on unit-length features that are compared by cross-validation.
STRENGTHS = (1.0, 10.0, 100.0)
_FOLDS = 3
_MAX_COMPARED = 3000  # images on which strengths are compared
_MAX_LABELS = 4  # on which strengths are compared
_ITERATIONS = 200
_ABSENT = 10.0  # by which the bias of a class without images is below all others


def fit_probe(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    classes: int,
    sample_weight: NDArray[np.float32] | None = None,
    seed: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fit a logistic regression to features (N, D) of unit length; return weights (C, D) and biases (C,).

    `sample_weight` (N,) weights the images in the loss. The strength of the penalty is chosen by stratified
    cross-validation where each class has enough images. A class without images, of `classes`, is never predicted.
    """

    def fit(strength: float, rows: NDArray[np.int64]) -> Any:
        weights = None if sample_weight is None else sample_weight[rows]
        return _regression(strength, features[rows], labels[rows], weights)

    best = fit(_strength(features, labels, fit, seed), np.arange(len(labels)))
    weights, biases = np.asarray(best.coef_), np.asarray(best.intercept_)
    if len(weights) == 1:  # of two classes only the second one has its own weights
        weights, biases = np.concatenate([-weights, weights]) / 2, np.concatenate([-biases, biases]) / 2
    all_weights = np.zeros((classes, features.shape[1]), dtype=np.float32)
    all_biases = np.full(classes, biases.min() - _ABSENT, dtype=np.float32)
    all_weights[best.classes_], all_biases[best.classes_] = weights, biases
    return all_weights, all_biases


def fit_label_probes(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    classes: int,
    sample_weight: NDArray[np.float32] | None = None,
    seed: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fit a logistic regression for each label, 0 or 1 (N, L), to features (N, D) of unit length; as `fit_probe`.

    `sample_weight` is (N, L). The strength of the penalty is the same for all labels, and chosen by the cross-validated
    loss of some of them. A label that all images of these have, or none, gets the log-odds of its frequency.
    """
    weights = np.zeros((classes, features.shape[1]), dtype=np.float32)
    present = labels.sum(0)
    biases = np.log((present + 0.5) / (len(labels) - present + 0.5)).astype(np.float32)
    varied = np.flatnonzero((present > 0) & (present < len(labels)))
    strength = _label_strength(features, labels[:, _spread(varied, present)], seed)
    for label in varied:
        own = None if sample_weight is None else sample_weight[:, label]
        model = _regression(strength, features, labels[:, label], own)
        weights[label], biases[label] = model.coef_[0], model.intercept_[0]
    return weights, biases


def _spread(varied: NDArray[np.int64], present: NDArray[np.int64]) -> NDArray[np.int64]:
    """A few of the labels, from the rarest to the most frequent."""
    ordered = varied[np.argsort(present[varied], kind="stable")]
    return ordered[np.unique(np.linspace(0, max(len(ordered) - 1, 0), min(len(ordered), _MAX_LABELS)).astype(np.int64))]


def _label_strength(features: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> float:
    """The strength with the lowest cross-validated loss of labels (N, L)."""
    from sklearn.metrics import log_loss
    from sklearn.model_selection import KFold

    rows = np.random.default_rng(seed).permutation(len(labels))[:_MAX_COMPARED]
    if len(rows) < _FOLDS:
        return STRENGTHS[1]
    losses = dict.fromkeys(STRENGTHS, 0.0)
    for one, other in KFold(_FOLDS).split(rows):
        fitted, held_out = rows[one], rows[other]
        for own in labels.T:
            if own[fitted].min() == own[fitted].max():
                continue
            for strength in STRENGTHS:
                found = _regression(strength, features[fitted], own[fitted], None).predict_proba(features[held_out])
                losses[strength] += log_loss(own[held_out], found[:, 1], labels=[0, 1])
    return min(losses, key=losses.__getitem__)


def _regression(
    strength: float, features: NDArray[np.float32], labels: NDArray[np.int64], weights: NDArray[np.float32] | None
) -> Any:
    """Return a fitted logistic regression."""
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge fully
        return LogisticRegression(C=strength, max_iter=_ITERATIONS).fit(features, labels, weights)


def _strength(features: NDArray[np.float32], labels: NDArray[np.int64], fit: Callable[..., Any], seed: int) -> float:
    """The strength with the best cross-validated accuracy."""
    from sklearn.model_selection import StratifiedKFold, train_test_split

    rows = np.arange(len(labels))
    if len(rows) > _MAX_COMPARED:
        rows, _ = train_test_split(rows, train_size=_MAX_COMPARED, random_state=seed)
    counts = np.bincount(labels[rows])
    folds = min(_FOLDS, int(counts[counts > 0].min()))
    if folds < 2:
        return STRENGTHS[1]
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, labels[rows])
    splits = [(rows[one], rows[other]) for one, other in parts]
    scores = {
        strength: sum(fit(strength, one).score(features[other], labels[other]) for one, other in splits)
        for strength in STRENGTHS
    }
    return max(scores, key=scores.__getitem__)


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
    "prototype" is set to the means of the classes, "cosine" is trained from there, and "mlp" from the beginning, for at
    most `seconds` if they are given.
    """
    head = head_module(model.module, model.heads)

    def compute() -> NDArray[np.float32]:
        return embed(model, images, precision=precision, normalize=False)[0]

    features = cached_features(model, images, compute, variant=precision)
    about: dict[str, Any] = {"sample_weight": images.weights, "seed": seed}
    if isinstance(head, CosineHead):
        fit_class_means(head, features, images.targets, **about)
    if isinstance(head, Head):
        if method_of(model) == "adamw":
            train_on_features(head, features, images.targets, seconds=seconds, **about)
        return features
    length = float(np.linalg.norm(features, axis=1).mean()) or 1.0
    fit = fit_label_probes if images.task == MULTI_LABEL else fit_probe
    weights, biases = fit(features / length, images.targets, classes=len(model.classes), **about)
    _assign(head, torch.from_numpy(weights / length), torch.from_numpy(biases))
    return features


def _assign(layer: nn.Module, weights: Tensor, biases: Tensor) -> None:
    own = layer.weight
    assert isinstance(own, Tensor)
    own.copy_(weights.view_as(own))
    if isinstance(layer.bias, Tensor):
        layer.bias.copy_(biases)
