"""Facility location in parts: in processes, in one pass, and from files."""

from __future__ import annotations

import pickle
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import numpy as np
import pytest

from pools import pool_of, some_features, unit
from shoestring.errors import UserError
from shoestring.selection import Pool, Strategy, select_subset
from shoestring.selection.algorithms.distributed import use_executor
from shoestring.selection.algorithms.partitions import summarize_part
from shoestring.selection.methods import streaming as module
from shoestring.selection.methods.facility_location import facility_location
from shoestring.selection.methods.streaming import streaming


def _clustered(count: int, *, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = some_features(20, seed=seed, dimensions=16)
    return unit(centres[rng.integers(0, 20, count)] + 0.15 * rng.normal(size=(count, 16)))


def _coverage(features: np.ndarray, selected) -> float:
    return float(np.maximum((features @ features[selected].T).max(1), 0).sum(dtype=np.float64))


def _relative_gain(features: np.ndarray, selected, size: int) -> float:
    """Fraction of the gain of centralized greedy over random selection that a selection reaches."""
    central = facility_location(pool_of(features), size, rng=np.random.default_rng(0))
    baseline = np.mean(
        [_coverage(features, np.random.default_rng(s).permutation(len(features))[:size]) for s in range(9)]
    )
    return (_coverage(features, selected) - baseline) / (_coverage(features, central) - baseline)


class _Inline(Executor):
    """Run everything in this process, after pickling it."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    def map(self, function, *iterables, **_):
        for arguments in zip(*iterables):
            message = pickle.dumps((function, arguments))
            self.sent.append(len(message))
            function_copy, arguments_copy = pickle.loads(message)
            yield function_copy(*arguments_copy)


def _greedi(features: np.ndarray, size: int, **options) -> list[int]:
    return facility_location(pool_of(features), size, rng=np.random.default_rng(0), **options).tolist()


def test_eight_partitions_nearly_reach_centralized_greedy():
    features = _clustered(1200)
    with use_executor(_Inline()):
        found = _greedi(features, 40, partitions=8)
    assert len(set(found)) == 40
    central = facility_location(pool_of(features), 40, rng=np.random.default_rng(0))
    assert _coverage(features, np.array(found)) > 0.99 * _coverage(features, central)
    assert _relative_gain(features, found, 40) > 0.9


def test_the_result_does_not_depend_on_the_executor():
    features = _clustered(300)
    found = []
    for executor in (
        _Inline(),
        ThreadPoolExecutor(2),
        ProcessPoolExecutor(1, mp_context=get_context("spawn")),
        ProcessPoolExecutor(2, mp_context=get_context("spawn")),
    ):
        with executor, use_executor(executor):
            found.append(_greedi(features, 12, partitions=5))
    assert all(own == found[0] for own in found)


def test_the_default_process_pool_gives_the_same_result():
    features = _clustered(200)
    own = _greedi(features, 10, partitions=2)
    with use_executor(_Inline()):
        assert own == _greedi(features, 10, partitions=2)


def test_partitions_continue_from_images_selected_before():
    features, already = _clustered(60), np.array([50, 4, 9])
    with use_executor(_Inline()):
        found = _greedi(features, 57, partitions=4, already=already)
    assert sorted([*found, *already]) == list(range(60))


def test_more_partitions_than_images():
    with use_executor(_Inline()):
        assert sorted(_greedi(some_features(5, seed=0), 5, partitions=9)) == list(range(5))
    with pytest.raises(UserError, match="partitions"):
        _greedi(some_features(5, seed=0), 2, partitions=-1)


def _mapped(features: np.ndarray, folder) -> Pool:
    np.save(folder / "features.npy", features)
    pool = pool_of(features)
    return Pool(pool.images, lambda: pytest.fail("no signals needed"), lambda: np.load(folder / "features.npy", "r"))


def test_workers_receive_their_rows_or_a_file_reference(tmp_path):
    features = _clustered(2000)
    for pool, max_bytes in ((pool_of(features), 1.2 * features.nbytes / 4), (_mapped(features, tmp_path), 8_000)):
        executor = _Inline()
        with use_executor(executor):
            found = facility_location(pool, 20, rng=np.random.default_rng(0), partitions=4)
        assert max(executor.sent) < max_bytes
        assert found.tolist() == _in_memory(features)


def _in_memory(features: np.ndarray) -> list[int]:
    with use_executor(_Inline()):
        return _greedi(features, 20, partitions=4)


@pytest.mark.parametrize("method", ["facility_location", "streaming", "k_center", "herding"])
def test_float16_features_are_read_from_a_file_in_parts(method, tmp_path):
    half = _clustered(300).astype(np.float16)
    pool = _mapped(half, tmp_path)
    assert pool.take(np.arange(5)).features.dtype == np.float32
    found = select_subset(pool, 12, Strategy(method))
    assert (
        found.indices.tolist() == select_subset(pool_of(half.astype(np.float32)), 12, Strategy(method)).indices.tolist()
    )


def test_a_view_of_a_memory_map_is_not_confused_with_the_file(tmp_path):
    features = _clustered(50)
    np.save(tmp_path / "features.npy", features)
    pool = Pool(pool_of(features[10:]).images, pytest.fail, lambda: np.load(tmp_path / "features.npy", "r")[10:])
    assert np.array_equal(pool.features, features[10:])
    assert np.array_equal(pool.take(np.array([3, 1])).features, features[[13, 11]])


def test_a_part_is_summarized_by_selected_images_and_witnesses():
    features = unit(np.repeat(np.eye(3), [5, 3, 2], axis=0))
    summary = summarize_part(features, 2, already=1, rng=np.random.default_rng(0))
    assert 5 <= summary.rows[0] < 8 <= summary.rows[1]
    assert len(set(summary.witnesses.tolist()) - {0, *summary.rows.tolist()}) == 2
    assert summary.weight == 7 / 2
    assert len(summarize_part(features, 20, already=1, rng=np.random.default_rng(0)).rows) == 9


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(module, "_READ", 250)
    monkeypatch.setattr(module, "_CHUNK", 100)


@pytest.mark.parametrize("order", ["any", "sorted"])
def test_streaming_nearly_reaches_centralized_greedy(order, small_chunks):
    features = _clustered(1200)
    if order == "sorted":  # worst case: sorted by content
        features = features[np.argsort(features[:, 0])]
    found = streaming(pool_of(features), 40, rng=np.random.default_rng(0))
    assert len(set(found.tolist())) == 40
    assert _relative_gain(features, found, 40) > 0.75  # each of 13 chunks keeps 14


def test_streaming_reads_every_row_once_and_in_order(small_chunks, monkeypatch):
    pool, read = pool_of(_clustered(600), classes=3), []
    take = Pool.take
    monkeypatch.setattr(Pool, "take", lambda self, rows: (read.extend(rows.tolist()), take(self, rows))[1])
    found = select_subset(pool, 30, Strategy("streaming")).indices
    assert read == list(range(600))
    assert np.bincount(pool.labels[found]).tolist() == [10, 10, 10]


def test_streaming_continues_from_images_selected_before(small_chunks):
    features, already = _clustered(400), np.arange(0, 300)
    found = streaming(pool_of(features), 100, rng=np.random.default_rng(0), already=already)
    assert sorted(found.tolist()) == list(range(300, 400))


def test_workers_that_end_early_raise_a_user_error():
    class Broken(Executor):
        def map(self, *args, **kwargs):
            raise BrokenProcessPool("a child process terminated abruptly")

    with use_executor(Broken()), pytest.raises(UserError, match=r"ended early.*__main__"):
        select_subset(pool_of(some_features(40, seed=0)), 5, Strategy("facility_location", {"partitions": 2}))
