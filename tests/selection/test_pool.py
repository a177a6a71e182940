from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shoestring.errors import UserError
from shoestring.selection import Pool, Signals
from shoestring.selection.algorithms.rows import ArrayFile, as_stored


def test_signals_are_computed_once_for_a_pool_and_its_subsets(images):
    calls = []

    def compute() -> Signals:
        calls.append(1)
        count = len(images)
        rows = np.arange(count)
        return Signals(rows[:, None].astype(np.float32), rows, rows % 2 == 0, rows / 2, rows / 4)

    pool = Pool(images, compute, device="cuda:1")
    part = pool.take(np.array([5, 3, 8])).take(np.array([2, 0]))
    assert not calls
    assert part.device == "cuda:1"
    assert part.forgotten.tolist() == [8, 5]
    assert part.features[:, 0].tolist() == [8.0, 5.0]
    assert part.learned.tolist() == [True, False]
    assert part.margin.tolist() == [4.0, 2.5] and part.final_margin.tolist() == [2.0, 1.25]
    assert pool.forgotten.tolist() == list(range(60))
    assert calls == [1]
    assert (len(pool), len(part)) == (60, 2)
    assert np.array_equal(part.labels, images.targets[[8, 5]])
    assert np.array_equal(part.pixels, images.pixels[[8, 5]])


def test_the_error_without_probabilities_names_an_alternative(images):
    count = len(images)
    features, zeros = np.ones((count, 1), dtype=np.float32), np.zeros(count)
    signals = Signals(features, zeros.astype(int), zeros == 0, zeros, zeros)
    probabilities = np.random.default_rng(0).random((count, 3)).astype(np.float32)
    part = Pool(images, lambda: replace(signals, probabilities=probabilities)).take(np.array([5, 3]))
    assert np.array_equal(part.probabilities, probabilities[[5, 3]])
    with pytest.raises(UserError, match="facility_location needs none"):
        _ = Pool(images, lambda: signals).probabilities


def test_signals_are_saved_without_unknown_fields(images, tmp_path):
    count = len(images)
    features, zeros = np.ones((count, 1), dtype=np.float32), np.zeros(count)
    probabilities = np.full((count, 3), 1 / 3, dtype=np.float32)
    signals = Signals(features, zeros.astype(int), zeros == 0, zeros, zeros, probabilities=probabilities)
    signals.save(tmp_path / "signals.npz", images.fingerprint)
    loaded = Signals.load(tmp_path / "signals.npz", images.fingerprint)
    assert loaded.gradient is None
    assert np.array_equal(loaded.probabilities, probabilities)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_rows_of_a_file_can_be_read_in_any_order(tmp_path, kind):
    values = np.random.default_rng(0).normal(size=(50, 7)).astype(kind)
    np.save(tmp_path / "rows.npy", values)
    rows = as_stored(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    assert isinstance(rows.values, ArrayFile)
    for requested in ([], [3], [4, 5, 6, 40], [40, 6, 5, 5, 0], list(range(50))):
        indices = np.array(requested, dtype=np.int64)
        assert np.array_equal(rows.take(indices).read(), values[indices].astype(np.float32))
    assert np.array_equal(rows.read(), values.astype(np.float32))


def test_a_file_in_fortran_order_stays_memory_mapped(tmp_path):
    values = np.asfortranarray(np.random.default_rng(0).normal(size=(20, 3)))
    np.save(tmp_path / "rows.npy", values)
    rows = as_stored(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    assert np.array_equal(rows.take(np.array([4, 2])).read(), values[[4, 2]].astype(np.float32))


def test_a_truncated_file_raises_an_error(tmp_path):
    np.save(tmp_path / "rows.npy", np.ones((50, 7)))
    rows = as_stored(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    with (tmp_path / "rows.npy").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(UserError, match="was truncated"):
        rows.take(np.array([40])).read()
