"""Logistic regressions of several labels on features, one for each label."""

from __future__ import annotations

import time
import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from shoestring.training.heads.preconditioner import Spectrum
from shoestring.training.heads.regression import (
    COMPARING,
    FOLDS,
    ITERATIONS,
    MANY,
    MAX_COMPARED,
    Fit,
    Fitted,
    Loss,
    Rows,
    best_strength,
    minimize_by_clock,
)

_MAX_LABELS = 4  # on which strengths are compared


def fit_label_probes(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    classes: int,
    sample_weight: NDArray[np.float32] | None = None,
    seed: int = 0,
    seconds: float | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fit a logistic regression for each label, 0 or 1 (N, L), to features (N, D) of unit length; as `fit_probe`.

    `sample_weight` is (N, L). The strength of the penalty is the same for all labels, and chosen by the cross-validated
    loss of some of them. A label that all images of these have, or none, gets the log-odds of its frequency. It takes
    about `seconds` at most, half of them for the strength.
    """
    start, limit = time.monotonic(), np.inf if seconds is None else seconds
    by_clock = seconds is not None or len(labels) > MANY
    spectrum = Spectrum.of(features) if by_clock else None

    def fit_of(columns: NDArray[np.int64]) -> Fit:
        def fit(strength: float, rows: Rows, end: float, first: Fitted | None) -> Fitted:
            weights = None if sample_weight is None else sample_weight[np.ix_(rows, columns)]
            own, targets = features if len(rows) == len(features) else features[rows], labels[np.ix_(rows, columns)]
            if by_clock:
                return _by_clock(own, targets, weights, strength, end=end, first=first, spectrum=spectrum)
            return _by_sklearn(own, targets, weights, strength)

        return fit

    weights = np.zeros((classes, features.shape[1]), dtype=np.float32)
    biases, present = _log_odds(labels), labels.sum(0)
    varied = np.flatnonzero((present > 0) & (present < len(labels)))
    if len(varied):
        few = _spread(varied, present)

        def score(fitted: Fitted, rows: Rows) -> float:
            logits = torch.from_numpy(np.asarray(features[rows] @ fitted[0].T + fitted[1], dtype=np.float32))
            targets = torch.from_numpy(labels[np.ix_(rows, few)]).float()
            return -float(functional.binary_cross_entropy_with_logits(logits, targets))

        splits = _splits(len(labels), seed)
        strength, _ = best_strength(splits, fit_of(few), score, start=start, limit=COMPARING * limit)
        weights[varied], biases[varied] = fit_of(varied)(strength, np.arange(len(labels)), start + limit, None)
    return weights, biases


def _spread(varied: NDArray[np.int64], present: NDArray[np.int64]) -> NDArray[np.int64]:
    """A few of the labels, from the rarest to the most frequent."""
    ordered = varied[np.argsort(present[varied], kind="stable")]
    return ordered[np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), _MAX_LABELS)).astype(np.int64))]


def _splits(count: int, seed: int) -> list[tuple[Rows, Rows]]:
    """Rows to fit and rows held out, of some of the images; none if these are too few."""
    from sklearn.model_selection import KFold

    rows = np.random.default_rng(seed).permutation(count)[:MAX_COMPARED]
    if len(rows) < FOLDS:
        return []
    return [(rows[one], rows[other]) for one, other in KFold(FOLDS).split(rows)]


def _by_sklearn(
    features: NDArray[np.float32], labels: NDArray[np.int64], weights: NDArray[np.float32] | None, strength: float
) -> Fitted:
    from sklearn.linear_model import LogisticRegression

    found, biases = np.zeros((labels.shape[1], features.shape[1])), _log_odds(labels)
    for label, column in enumerate(labels.T):
        if column.min() == column.max():  # of these images
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it need not converge fully
            model = LogisticRegression(C=strength, max_iter=ITERATIONS)
            model.fit(features, column, None if weights is None else weights[:, label])
        found[label], biases[label] = np.asarray(model.coef_)[0], np.asarray(model.intercept_)[0]
    return found, biases


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
    """Minimize the losses of all labels at once, until `end`: the sum of what scikit-learn minimizes for each."""
    own = torch.ones(labels.shape) if weights is None else torch.from_numpy(np.array(weights))
    totals = own.sum(0).clamp_min(1.0)  # below one if nearly all images have no weight
    loss = _binary_cross_entropy(torch.from_numpy(labels).float(), own / totals)
    about = {"outputs": labels.shape[1], "penalty": 1 / (strength * totals[:, None])}
    start = first or (np.zeros((labels.shape[1], features.shape[1])), _log_odds(labels))
    return minimize_by_clock(features, loss, end=end, first=start, spectrum=spectrum, **about)


def _binary_cross_entropy(targets: Tensor, weights: Tensor) -> Loss:
    """The sum of the binary cross-entropies of labels (N, L), with these weights (N, L)."""

    def loss(scores: Tensor) -> tuple[Tensor, Tensor]:
        losses = functional.binary_cross_entropy_with_logits(scores, targets, reduction="none")
        return (losses * weights).sum(dtype=torch.float64), scores.sigmoid_().sub_(targets).mul_(weights)

    return loss


def _log_odds(labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """The log-odds (L,) of the frequency of labels (N, L)."""
    present = labels.sum(0)
    return np.log((present + 0.5) / (len(labels) - present + 0.5)).astype(np.float32)
