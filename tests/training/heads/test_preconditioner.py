from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch

from shoestring.training.heads.logistic_regression import _by_clock
from shoestring.training.heads.preconditioner import Preconditioner, Spectrum


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def uneven_features(rng: np.random.Generator, count: int = 400, size: int = 20) -> np.ndarray:
    """Features whose variances differ by a factor of a million, as those of networks do."""
    scales = np.logspace(0, -3, size)
    return (rng.normal(size=(count, size)) * scales @ np.linalg.qr(rng.normal(size=(size, size)))[0]).astype(np.float32)


def test_coordinates_and_weights_are_inverse(rng):
    both = Preconditioner(Spectrum.of(uneven_features(rng)), 1e-3)
    weights = torch.randn(3, 20, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(both.weights(both.coordinates(weights)), weights, atol=1e-5)


def test_gradient_is_that_in_the_coordinates(rng):
    both = Preconditioner(Spectrum.of(uneven_features(rng)), 1e-3)
    weights = torch.randn(3, 20, generator=torch.Generator().manual_seed(0))
    coordinates = both.coordinates(weights).requires_grad_()
    (both.weights(coordinates).square() / 2).sum().backward()
    assert torch.allclose(both.gradient(weights), coordinates.grad, rtol=1e-3, atol=1e-3)


def test_few_images_have_no_spectrum(rng):
    features = uneven_features(rng, count=79)
    assert Spectrum.of(features) is None
    weights = torch.ones(2, 20)
    assert Preconditioner(None, 1.0).weights(weights) is weights


def test_fit_reaches_the_same_minimum_in_fewer_steps(rng, monkeypatch):
    features = uneven_features(rng)
    labels = (features @ rng.normal(size=(20, 3)) * 3 + rng.gumbel(size=(400, 3))).argmax(1)
    minimize, found = scipy.optimize.minimize, []

    def recorded(*args, **kwargs):
        found.append(minimize(*args, **kwargs))
        return found[-1]

    monkeypatch.setattr(scipy.optimize, "minimize", recorded)
    for spectrum in (None, Spectrum.of(features)):
        _by_clock(features, labels, None, 100.0, end=np.inf, first=None, spectrum=spectrum)
    plain, preconditioned = found
    assert preconditioned.fun < plain.fun + 1e-3
    assert preconditioned.nit < plain.nit / 2
