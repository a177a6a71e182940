from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pools import pool_of, some_features
from shoestring.errors import UserError
from shoestring.selection import Pool, Signals
from shoestring.selection.methods.el2n import el2n
from shoestring.selection.methods.grand import grand

COUNT, EPOCHS = 24, 5


def _signals(gradient: np.ndarray | None) -> Signals:
    return replace(pool_of(some_features(COUNT, seed=0))._signals, gradient=gradient)


def _pool(gradient: np.ndarray | None) -> Pool:
    signals = _signals(gradient)
    return Pool(pool_of(signals.features).images, lambda: signals)


def _gradient(seed: int = 0) -> np.ndarray:
    gradient = np.random.default_rng(seed).random((EPOCHS, COUNT)).astype(np.float32)
    gradient[-1, 10:] = np.nan
    return gradient


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("early", [0.1, 0.5, 1.0])
@pytest.mark.parametrize(("order", "sign"), [("easiest", 1), ("hardest", -1)])
def test_grand_is_the_mean_norm_over_the_first_epochs(early, order, sign):
    gradient = _gradient()
    epochs = max(1, int(np.ceil(early * EPOCHS)))
    expected = sorted(range(COUNT), key=lambda i: sign * float(np.nanmean(gradient[:epochs, i].astype(float))))
    pool = _pool(gradient)
    assert grand(pool, 8, rng=_rng(), order=order, early=early).tolist() == expected[:8]
    assert grand(pool, 8, rng=_rng(), order=order, early=early, offset=0.25).tolist() == expected[6:14]
    assert grand(pool, COUNT, rng=_rng(), order=order, early=early, offset=0.9).tolist() == expected


def test_images_never_seen_count_as_hardest():
    gradient = _gradient()
    gradient[:, 4] = np.nan
    assert grand(_pool(gradient), 1, rng=_rng(), order="hardest").tolist() == [4]
    assert 4 not in grand(_pool(gradient), COUNT - 1, rng=_rng())


def test_ties_are_broken_at_random():
    pool = _pool(np.ones((EPOCHS, COUNT), dtype=np.float32))
    assert len({tuple(grand(pool, COUNT, rng=np.random.default_rng(seed))) for seed in range(4)}) == 4


def test_grand_uses_the_gradient_and_el2n_the_error():
    pool = _pool(_gradient())
    first, second = pool.gradient[:, :12], pool.error[:, :12]
    assert not np.array_equal(first, second, equal_nan=True)
    assert grand(pool, 5, rng=_rng()).tolist() != el2n(pool, 5, rng=_rng()).tolist()


def test_the_error_without_gradients_names_an_alternative():
    with pytest.raises(UserError, match="margin needs none"):
        grand(_pool(None), 3, rng=_rng())


@pytest.mark.parametrize("options", [{"early": 0.0}, {"early": 1.1}, {"offset": 1.0}, {"offset": -0.1}])
def test_fractions_out_of_range_raise_errors(options):
    with pytest.raises(UserError, match=f"grand's {next(iter(options))}"):
        grand(_pool(_gradient()), 3, rng=_rng(), **options)
