from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shoestring.errors import UserError
from shoestring.selection import Pool, Signals
from shoestring.selection.methods.aum import aum
from shoestring.selection.methods.ccs import ccs
from shoestring.selection.methods.dual import dual
from shoestring.selection.methods.el2n import el2n

COUNT = 30


def _signals(seed: int = 0, epochs: int = 6) -> Signals:
    rng = np.random.default_rng(seed)
    features = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (COUNT, 1))
    confidence, error = (rng.random((epochs, COUNT)).astype(np.float32) for _ in range(2))
    confidence[-1, 20:] = error[-1, 20:] = np.nan
    zeros = np.zeros(COUNT)
    return Signals(features, zeros.astype(int), zeros == 0, rng.normal(size=COUNT), zeros, confidence, error)


def _pool(images, signals: Signals) -> Pool:
    return Pool(images[:COUNT], lambda: signals)


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(("order", "sign"), [("easiest", -1), ("hardest", 1)])
def test_aum_ranks_by_the_mean_margin(images, order, sign):
    signals = _signals()
    found = aum(_pool(images, signals), 10, rng=_rng(), order=order)
    assert found.tolist() == sorted(range(COUNT), key=lambda i: sign * signals.margin[i])[:10]


@pytest.mark.parametrize("early", [0.1, 0.5, 1.0])
@pytest.mark.parametrize(("order", "sign"), [("easiest", 1), ("hardest", -1)])
def test_el2n_is_the_mean_error_over_the_first_epochs(images, early, order, sign):
    signals = _signals()
    epochs = max(1, int(np.ceil(early * 6)))
    score = [float(np.nanmean(signals.error[:epochs, i])) for i in range(COUNT)]
    expected = sorted(range(COUNT), key=lambda i: sign * score[i])
    pool = _pool(images, signals)
    assert el2n(pool, 8, rng=_rng(), order=order, early=early).tolist() == expected[:8]
    assert el2n(pool, 8, rng=_rng(), order=order, early=early, offset=0.2).tolist() == expected[6:14]
    assert el2n(pool, COUNT, rng=_rng(), order=order, early=early, offset=0.9).tolist() == expected


def test_images_never_seen_count_as_hardest(images):
    signals = _signals()
    signals.error[:, 4] = np.nan
    pool = _pool(images, signals)
    assert el2n(pool, 1, rng=_rng(), order="hardest").tolist() == [4]
    assert 4 not in el2n(pool, COUNT - 1, rng=_rng())


def test_ccs_draws_from_every_stratum_and_never_from_the_hardest(images):
    signals = replace(_signals(), margin=np.arange(COUNT) / 10)
    found = ccs(_pool(images, signals), 12, rng=_rng(), cut=0.2, strata=4)
    assert found.min() >= 6
    stratum = np.minimum(4 * (found - 6) // (COUNT - 1 - 6), 3)
    for size in (4, 8, 12):
        assert np.bincount(stratum[:size], minlength=4).tolist() == [size // 4] * 4


def test_ccs_takes_all_images_of_a_small_stratum_and_more_from_the_others(images):
    margin = np.concatenate([np.zeros(2), np.ones(28)])
    found = ccs(_pool(images, replace(_signals(), margin=margin)), 10, rng=_rng(), cut=0.0, strata=2)
    assert {0, 1} <= set(found.tolist())
    assert len(ccs(_pool(images, replace(_signals(), margin=np.zeros(COUNT))), COUNT, rng=_rng())) == COUNT


def test_ccs_never_drops_too_many(images):
    assert len(set(ccs(_pool(images, _signals()), 29, rng=_rng(), cut=0.9).tolist())) == 29


@pytest.mark.parametrize("window", [2, 3, 6, 50])
def test_dual_is_one_minus_mean_times_deviation_over_windows(images, window):
    signals = _signals()
    confidence = np.nan_to_num(signals.confidence.astype(float))
    length = min(window, 6)

    def score(i: int) -> float:
        parts = [confidence[start : start + length, i] for start in range(6 - length + 1)]
        return float(np.mean([(1 - part.mean()) * part.std(ddof=1) for part in parts]))

    expected = sorted(range(COUNT), key=lambda i: -score(i))
    pool = _pool(images, signals)
    assert dual(pool, 9, rng=_rng(), window=window).tolist() == expected[:9]
    assert dual(pool, COUNT, rng=_rng(), window=window, order="lowest").tolist() == expected[::-1]


def test_dual_works_with_one_epoch(images):
    found = dual(_pool(images, _signals(epochs=1)), COUNT, rng=_rng())
    assert sorted(found.tolist()) == list(range(COUNT))


@pytest.mark.parametrize("method", [el2n, dual])
def test_the_error_without_epochs_names_an_alternative(images, method):
    signals = replace(_signals(), confidence=None, error=None)
    with pytest.raises(UserError, match="margin needs none"):
        method(_pool(images, signals), 3, rng=_rng())


@pytest.mark.parametrize(
    ("method", "options"),
    [(el2n, {"early": 0.0}), (el2n, {"offset": 1.0}), (ccs, {"cut": 1.0}), (ccs, {"strata": 0}), (dual, {"window": 1})],
)
def test_options_out_of_range_raise_errors(images, method, options):
    with pytest.raises(UserError, match=next(iter(options))):
        method(_pool(images, _signals()), 3, rng=_rng(), **options)
