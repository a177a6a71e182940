"""Logistic regression on features, whose strength of penalty is chosen by cross-validation."""

from __future__ import annotations

import time
import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shoestring.training.heads.preconditioner import Spectrum
from shoestring.training.heads.regression import (
    COMPARING,
    FOLDS,
    ITERATIONS,
    MANY,
    MAX_COMPARED,
    Fitted,
    Loss,
    Rows,
    best_strength,
    minimize_by_clock,
)

_ABSENT = 10.0  # by which the bias of a class without images is below all others


def fit_probe(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    classes: int,
    sample_weight: NDArray[np.float32] | None = None,
    seed: int = 0,
    seconds: float | None = None,
) -> Fitted:
    """Fit a logistic regression to features (N, D) of unit length; return weights (C, D) and biases (C,).

    `sample_weight` (N,) weights the images in the loss. The strength of the penalty is chosen by stratified
    cross-validation where each class has enough images. A class without images, of `classes`, is never predicted; if
    there is only one class, it always is. It takes about `seconds` at most: half of them for the strength, which is the
    middle one if that is too short.
    """
    present, codes = np.unique(labels, return_inverse=True)
    start, limit = time.monotonic(), np.inf if seconds is None else seconds
    by_clock = seconds is not None or len(labels) > MANY
    spectrum = Spectrum.of(features) if by_clock else None

    def fit(strength: float, rows: Rows, end: float, first: Fitted | None) -> Fitted:
        every = len(rows) == len(labels)
        weights = None if sample_weight is None else sample_weight if every else sample_weight[rows]
        own, targets = (features, codes) if every else (features[rows], codes[rows])
        if by_clock:
            return _by_clock(own, targets, weights, strength, end=end, first=first, spectrum=spectrum)
        return _by_sklearn(own, targets, weights, strength)

    def score(fitted: Fitted, rows: Rows) -> float:
        return float(((features[rows] @ fitted[0].T + fitted[1]).argmax(1) == codes[rows]).mean())

    weights, biases = np.zeros((1, features.shape[1])), np.zeros(1)
    if len(present) > 1:
        splits = _stratified_splits(codes, seed)
        strength, first = best_strength(splits, fit, score, start=start, limit=COMPARING * limit)
        weights, biases = fit(strength, np.arange(len(labels)), start + limit, first)
    all_weights = np.zeros((classes, features.shape[1]), dtype=np.float32)
    all_biases = np.full(classes, biases.min() - _ABSENT, dtype=np.float32)
    all_weights[present], all_biases[present] = weights, biases
    return all_weights, all_biases


def _stratified_splits(labels: NDArray[np.int64], seed: int) -> list[tuple[Rows, Rows]]:
    """Rows to fit and rows held out, of some of the images; none if a class has a single image."""
    from sklearn.model_selection import StratifiedKFold, train_test_split

    rows = np.arange(len(labels))
    if len(rows) > MAX_COMPARED:
        rows, _ = train_test_split(rows, train_size=MAX_COMPARED, random_state=seed)
    counts = np.bincount(labels[rows])
    folds = min(FOLDS, int(counts[counts > 0].min()))
    if folds < 2:
        return []
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, labels[rows])
    return [(rows[one], rows[other]) for one, other in parts]


def _by_sklearn(
    features: NDArray[np.float32], labels: NDArray[np.int64], weights: NDArray[np.float32] | None, strength: float
) -> Fitted:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge fully
        model.fit(features, labels, weights)
    coefficients, biases = np.asarray(model.coef_), np.asarray(model.intercept_)
    if len(coefficients) == 1:  # of two classes only the second one has its own weights
        return np.concatenate([-coefficients, coefficients]) / 2, np.concatenate([-biases, biases]) / 2
    return coefficients, biases


def _by_clock(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    weights: NDArray[np.float32] | None,
    strength: float,
    *,
    end: float,
    first: Fitted | None,
    spectrum: Spectrum | None,
) -> Fitted:
    """Minimize scikit-learn's loss of a multinomial regression until `end`. All classes have images."""
    own = torch.ones(len(labels)) if weights is None else torch.from_numpy(np.array(weights))
    total = max(float(own.sum()), 1.0)  # below one if nearly all images have no weight
    loss = _cross_entropy(torch.from_numpy(labels)[:, None], own[:, None] / total)
    about = {"outputs": int(labels.max()) + 1, "penalty": 1 / (strength * total)}
    return minimize_by_clock(features, loss, end=end, first=first, spectrum=spectrum, **about)


def _cross_entropy(targets: Tensor, weights: Tensor) -> Loss:
    """The sum of the cross-entropies of labels (N, 1), with these weights (N, 1)."""

    def loss(scores: Tensor) -> tuple[Tensor, Tensor]:
        logs = scores.log_softmax(1)
        value = -(logs.gather(1, targets) * weights).sum(dtype=torch.float64)
        return value, logs.exp_().scatter_add_(1, targets, -torch.ones_like(weights)).mul_(weights)

    return loss
