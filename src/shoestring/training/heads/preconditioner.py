"""Coordinates of the weights of a linear head, in which its loss curves about equally in all directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_ROWS_PER_FEATURE = 4  # images for each feature from which it takes less time than it saves
_MAX_ROWS = 8000  # whose second moments are taken
_CURVATURE = 0.1  # of the loss in the scores of a class: about p (1 - p) for its probability p


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues (D,) and eigenvectors (D, D) of the second moments of features."""

    values: Tensor
    vectors: Tensor

    @classmethod
    def of(cls, features: NDArray[np.float32]) -> Spectrum | None:
        """Return that of features (N, D); None if there are too few images for it."""
        if len(features) < _ROWS_PER_FEATURE * features.shape[1]:
            return None
        rows = torch.from_numpy(np.array(features[:: max(len(features) // _MAX_ROWS, 1)]))
        values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
        return cls(values.clamp_(min=0), vectors)


class Preconditioner:
    """Rotates and scales weights (C, D) of a regression whose penalty is `penalty` / 2 times their square.

    It divides them by the square root of the curvature of the loss along each eigenvector, which saves most of the
    iterations of a gradient method. Without a spectrum it changes nothing.
    """

    def __init__(self, spectrum: Spectrum | None, penalty: float) -> None:
        self._spectrum = spectrum
        self._scale = None if spectrum is None else (_CURVATURE * spectrum.values + penalty).sqrt()

    def weights(self, coordinates: Tensor) -> Tensor:
        """Return the weights at these coordinates (C, D)."""
        if self._spectrum is None or self._scale is None:
            return coordinates
        return (coordinates / self._scale) @ self._spectrum.vectors.T

    def coordinates(self, weights: Tensor) -> Tensor:
        """Return the coordinates of weights (C, D)."""
        if self._spectrum is None or self._scale is None:
            return weights
        return (weights @ self._spectrum.vectors) * self._scale

    def gradient(self, gradient: Tensor) -> Tensor:
        """Return the gradient (C, D) in the coordinates, from that in the weights."""
        if self._spectrum is None or self._scale is None:
            return gradient
        return (gradient @ self._spectrum.vectors) / self._scale
