"""Logistic regression on features, whose strength of penalty is chosen by cross-validation."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shoestring.training.heads.preconditioner import Preconditioner, Spectrum

# Inverse strengths of the L2 penalty on unit-length features that are compared by cross-validation.
STRENGTHS = (1.0, 10.0, 100.0)
_FOLDS = 3
_MAX_COMPARED = 3000  # images on which strengths are compared
_ITERATIONS = 200
_TOLERANCE, _PRECONDITIONED_TOLERANCE = 1e-4, 1e-3  # of the gradient
_MANY = 10_000  # images from which scikit-learn takes minutes: it converts features to float64 in each iteration
_COMPARING = 0.5  # of the time, for comparing strengths
_ABSENT = 10.0  # by which the bias of a class without images is below all others

Rows = NDArray[np.int64]
Fitted = tuple[NDArray[np.floating], NDArray[np.floating]]  # weights (C, D) and biases (C,)
Fit = Callable[[float, Rows, float, Fitted | None], Fitted]  # strength, rows, end of the time, where to start


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
    by_clock = seconds is not None or len(labels) > _MANY
    spectrum = Spectrum.of(features) if by_clock else None

    def fit(strength: float, rows: Rows, end: float, first: Fitted | None) -> Fitted:
        every = len(rows) == len(labels)
        weights = None if sample_weight is None else sample_weight if every else sample_weight[rows]
        own, targets = (features, codes) if every else (features[rows], codes[rows])
        if by_clock:
            about = {"strength": strength, "end": end, "first": first, "spectrum": spectrum}
            return _minimize(own, targets, weights, **about)
        return _by_sklearn(own, targets, weights, strength)

    weights, biases = np.zeros((1, features.shape[1])), np.zeros(1)
    if len(present) > 1:
        strength, first = _strength(features, codes, fit, seed, start, _COMPARING * limit)
        weights, biases = fit(strength, np.arange(len(labels)), start + limit, first)
    all_weights = np.zeros((classes, features.shape[1]), dtype=np.float32)
    all_biases = np.full(classes, biases.min() - _ABSENT, dtype=np.float32)
    all_weights[present], all_biases[present] = weights, biases
    return all_weights, all_biases


def _strength(
    features: NDArray[np.float32], labels: NDArray[np.int64], fit: Fit, seed: int, start: float, limit: float
) -> tuple[float, Fitted | None]:
    """The strength with the best cross-validated accuracy, and a fit with it; the middle one if time is too short."""
    from sklearn.model_selection import StratifiedKFold, train_test_split

    rows = np.arange(len(labels))
    if len(rows) > _MAX_COMPARED:
        rows, _ = train_test_split(rows, train_size=_MAX_COMPARED, random_state=seed)
    counts = np.bincount(labels[rows])
    folds = min(_FOLDS, int(counts[counts > 0].min()))
    if folds < 2:
        return STRENGTHS[1], None
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, labels[rows])
    splits = [(rows[one], rows[other]) for one, other in parts]
    scores, fitted = dict.fromkeys(STRENGTHS, 0.0), {}
    total = len(STRENGTHS) * folds
    for number, (one, other) in enumerate(splits):
        first = None
        for place, strength in enumerate(STRENGTHS, 1):  # each starts where the stronger penalty ended
            if time.monotonic() > start + limit:
                return STRENGTHS[1], fitted.get(STRENGTHS[1])
            end = start + limit * (number * len(STRENGTHS) + place) / total
            weights, biases = first = fitted[strength] = fit(strength, one, end, first)
            predicted = (features[other] @ weights.T + biases).argmax(1)
            scores[strength] += float((predicted == labels[other]).mean())
    best = max(scores, key=scores.__getitem__)
    return best, fitted[best]


def _by_sklearn(
    features: NDArray[np.float32], labels: NDArray[np.int64], weights: NDArray[np.float32] | None, strength: float
) -> Fitted:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge fully
        model.fit(features, labels, weights)
    coefficients, biases = np.asarray(model.coef_), np.asarray(model.intercept_)
    if len(coefficients) == 1:  # of two classes only the second one has its own weights
        return np.concatenate([-coefficients, coefficients]) / 2, np.concatenate([-biases, biases]) / 2
    return coefficients, biases


def _minimize(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    weights: NDArray[np.float32] | None,
    *,
    strength: float,
    end: float,
    first: Fitted | None,
    spectrum: Spectrum | None,
) -> Fitted:
    """Minimize scikit-learn's loss of a multinomial regression by L-BFGS in float32, until `end`.

    All classes have images. The clock is read after each iteration. The `spectrum` of the features reduces
    the number of iterations.
    """
    from scipy.optimize import minimize

    rows, size, classes = torch.from_numpy(np.asarray(features)), features.shape[1], int(labels.max()) + 1
    targets = torch.from_numpy(labels)[:, None]
    share = torch.ones(len(labels)) if weights is None else torch.from_numpy(np.array(weights))
    share = share[:, None] / share.sum()
    penalty = 1 / (strength * (len(labels) if weights is None else float(weights.sum())))
    preconditioner = Preconditioner(spectrum, penalty)

    def objective(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        both = torch.from_numpy(values).float().view(classes, size + 1)
        own = preconditioner.weights(both[:, :size])
        scores = torch.addmm(both[:, size], rows, own.T).log_softmax(1)
        loss = -(scores.gather(1, targets) * share).sum(dtype=torch.float64) + penalty / 2 * own.double().square().sum()
        error = scores.exp_().scatter_add_(1, targets, -torch.ones_like(share)).mul_(share)
        slope = preconditioner.gradient(error.T @ rows + penalty * own)
        return float(loss), torch.cat([slope, error.sum(0)[:, None]], 1).double().flatten().numpy()

    def stop(values: NDArray[np.float64]) -> None:
        if time.monotonic() >= end:
            raise StopIteration

    start = np.zeros((classes, size + 1))
    if first is not None:
        known = torch.from_numpy(np.asarray(first[0], dtype=np.float32))
        start[:, :size], start[:, size] = preconditioner.coordinates(known), first[1]
    tolerance = _TOLERANCE if spectrum is None else _PRECONDITIONED_TOLERANCE
    options: dict[str, Any] = {"maxiter": _ITERATIONS, "gtol": tolerance}
    with torch.inference_mode():
        found = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", callback=stop, options=options).x
        both = torch.from_numpy(found).float().view(classes, size + 1)
        return preconditioner.weights(both[:, :size]).numpy(), both[:, size].numpy()
