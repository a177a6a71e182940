"""What logistic regressions of classes and of labels share: how they are minimized, and the choice of the penalty."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shoestring.training.heads.preconditioner import Preconditioner, Spectrum

# Inverse strengths of the L2 penalty on unit-length features that are compared by cross-validation.
STRENGTHS = (1.0, 10.0, 100.0)
FOLDS = 3
MAX_COMPARED = 3000  # images on which strengths are compared
COMPARING = 0.5  # of the time, for comparing strengths
ITERATIONS = 200
MANY = 10_000  # images from which scikit-learn takes minutes: it converts features to float64 in each iteration
_TOLERANCE, _PRECONDITIONED_TOLERANCE = 1e-4, 1e-3  # of the gradient

Rows = NDArray[np.int64]
Fitted = tuple[NDArray[np.floating], NDArray[np.floating]]  # weights (C, D) and biases (C,)
Fit = Callable[[float, Rows, float, Fitted | None], Fitted]  # strength, rows, end of the time, where to start
Loss = Callable[[Tensor], tuple[Tensor, Tensor]]  # of scores (N, C), which it may overwrite: loss, and its gradient


def minimize_by_clock(
    features: NDArray[np.float32],
    loss: Loss,
    *,
    outputs: int,
    penalty: float | Tensor,
    end: float,
    first: Fitted | None,
    spectrum: Spectrum | None,
) -> Fitted:
    """Minimize a loss of scores plus `penalty` / 2 times the squared weights, by L-BFGS in float32, until `end`.

    The penalty is a number, or one for each output (C, 1). The clock (`time.monotonic`) is read after each iteration.
    The search starts from `first`, if that is given. The `spectrum` of the features reduces the number of iterations.
    """
    from scipy.optimize import minimize

    rows, size = torch.from_numpy(np.asarray(features)), features.shape[1]
    preconditioner = Preconditioner(spectrum, float(torch.as_tensor(penalty).mean()))

    def objective(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        both = torch.from_numpy(values).float().view(outputs, size + 1)
        own = preconditioner.weights(both[:, :size])
        value, error = loss(torch.addmm(both[:, size], rows, own.T))
        slope = preconditioner.gradient(error.T @ rows + penalty * own)
        total = value + (penalty / 2 * own.double().square()).sum()
        return float(total), torch.cat([slope, error.sum(0)[:, None]], 1).double().flatten().numpy()

    def stop(values: NDArray[np.float64]) -> None:
        if time.monotonic() >= end:
            raise StopIteration

    start = np.zeros((outputs, size + 1))
    if first is not None:
        known = torch.from_numpy(np.asarray(first[0], dtype=np.float32))
        start[:, :size], start[:, size] = preconditioner.coordinates(known), first[1]
    tolerance = _TOLERANCE if spectrum is None else _PRECONDITIONED_TOLERANCE
    options: dict[str, Any] = {"maxiter": ITERATIONS, "gtol": tolerance}
    with torch.inference_mode():
        found = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", callback=stop, options=options).x
        both = torch.from_numpy(found).float().view(outputs, size + 1)
        return preconditioner.weights(both[:, :size]).numpy(), both[:, size].numpy()


def best_strength(
    splits: Sequence[tuple[Rows, Rows]], fit: Fit, score: Callable[[Fitted, Rows], float], *, start: float, limit: float
) -> tuple[float, Fitted | None]:
    """Return the strength with the highest total score on held-out rows, and a fit with it, if there is one.

    It is the middle strength without splits, or if comparing takes more than `limit` seconds from `start`.
    """
    scores, fitted = dict.fromkeys(STRENGTHS, 0.0), dict[float, Fitted]()
    total = len(STRENGTHS) * len(splits)
    for number, (one, other) in enumerate(splits):
        first = None
        for place, strength in enumerate(STRENGTHS, 1):  # each starts where the stronger penalty ended
            if time.monotonic() > start + limit:
                return STRENGTHS[1], fitted.get(STRENGTHS[1])
            end = start + limit * (number * len(STRENGTHS) + place) / total
            first = fitted[strength] = fit(strength, one, end, first)
            scores[strength] += score(first, other)
    best = max(scores, key=scores.__getitem__) if splits else STRENGTHS[1]
    return best, fitted.get(best)
