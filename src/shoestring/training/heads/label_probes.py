"""Logistic regressions of several labels on features, one for each label."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.training.heads.logistic_regression import STRENGTHS

_FOLDS = 3
_MAX_COMPARED = 3000  # images on which strengths are compared
_MAX_LABELS = 4  # on which strengths are compared
_ITERATIONS = 200


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
