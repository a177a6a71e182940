from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shoestring.errors import UserError
from shoestring.select import Pool, Signals


def test_signals_are_computed_once_for_a_pool_and_all_its_parts(images):
    calls = []

    def compute() -> Signals:
        calls.append(1)
        count = len(images)
        rows = np.arange(count)
        return Signals(rows[:, None].astype(np.float32), rows, rows % 2 == 0, rows / 2, rows / 4)

    pool = Pool(images, compute)
    part = pool.part(np.array([5, 3, 8])).part(np.array([2, 0]))
    assert not calls
    assert part.forgotten.tolist() == [8, 5]
    assert part.features[:, 0].tolist() == [8.0, 5.0]
    assert part.learnt.tolist() == [True, False]
    assert part.margin.tolist() == [4.0, 2.5] and part.final_margin.tolist() == [2.0, 1.25]
    assert pool.forgotten.tolist() == list(range(60))
    assert calls == [1]
    assert (len(pool), len(part)) == (60, 2)
    assert np.array_equal(part.labels, images.targets[[8, 5]])
    assert np.array_equal(part.pixels, images.pixels[[8, 5]])


def test_probabilities_are_of_the_rows_and_their_absence_names_a_method_that_would_do(images):
    count = len(images)
    features, nothing = np.ones((count, 1), dtype=np.float32), np.zeros(count)
    signals = Signals(features, nothing.astype(int), nothing == 0, nothing, nothing)
    shares = np.random.default_rng(0).random((count, 3)).astype(np.float32)
    part = Pool(images, lambda: replace(signals, probabilities=shares)).part(np.array([5, 3]))
    assert np.array_equal(part.probabilities, shares[[5, 3]])
    with pytest.raises(UserError, match="facility_location does not"):
        _ = Pool(images, lambda: signals).probabilities


def test_signals_are_kept_with_what_is_known_of_them_only(images, tmp_path):
    count = len(images)
    features, nothing = np.ones((count, 1), dtype=np.float32), np.zeros(count)
    shares = np.full((count, 3), 1 / 3, dtype=np.float32)
    signals = Signals(features, nothing.astype(int), nothing == 0, nothing, nothing, probabilities=shares)
    signals.save(tmp_path / "signals.npz", images.fingerprint)
    again = Signals.load(tmp_path / "signals.npz", images.fingerprint)
    assert again.gradient is None
    assert np.array_equal(again.probabilities, shares)
