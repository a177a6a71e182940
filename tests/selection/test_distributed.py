"""Facility location by parts: in processes, in one pass, and from files."""

from __future__ import annotations

import pickle
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import numpy as np
import pytest

from pools import pool_of, some_features, unit
from shoestring.errors import UserError
from shoestring.selection import Pool, choose
from shoestring.selection.algorithms.distributed import running_on
from shoestring.selection.algorithms.partitions import left_by
from shoestring.selection.methods import streaming as module
from shoestring.selection.methods.facility_location import facility_location
from shoestring.selection.methods.streaming import streaming


def _clustered(count: int, *, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = some_features(20, seed=seed, dimensions=16)
    return unit(centres[rng.integers(0, 20, count)] + 0.15 * rng.normal(size=(count, 16)))


def _covered(features: np.ndarray, chosen) -> float:
    return float(np.maximum((features @ features[chosen].T).max(1), 0).sum(dtype=np.float64))


def _share_of_gain(features: np.ndarray, chosen, size: int) -> float:
    """How much of the gain of the central greedy over chance a choice reaches."""
    central = facility_location(pool_of(features), size, rng=np.random.default_rng(0))
    chance = np.mean([_covered(features, np.random.default_rng(s).permutation(len(features))[:size]) for s in range(9)])
    return (_covered(features, chosen) - chance) / (_covered(features, central) - chance)


class _Inline(Executor):
    """What another executor may do: everything at once and here, after it was sent."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    def map(self, function, *iterables, **_):
        for arguments in zip(*iterables):
            whole = pickle.dumps((function, arguments))
            self.sent.append(len(whole))
            own, given = pickle.loads(whole)
            yield own(*given)


def _greedi(features: np.ndarray, size: int, **options) -> list[int]:
    return facility_location(pool_of(features), size, rng=np.random.default_rng(0), **options).tolist()


def test_eight_partitions_reach_the_central_greedy():
    features = _clustered(1200)
    with running_on(_Inline()):
        found = _greedi(features, 40, partitions=8)
    assert len(set(found)) == 40
    central = facility_location(pool_of(features), 40, rng=np.random.default_rng(0))
    assert _covered(features, np.array(found)) > 0.99 * _covered(features, central)
    assert _share_of_gain(features, found, 40) > 0.9


def test_the_choice_does_not_depend_on_who_works():
    features = _clustered(300)
    found = []
    for executor in (
        _Inline(),
        ThreadPoolExecutor(2),
        ProcessPoolExecutor(1, mp_context=get_context("spawn")),
        ProcessPoolExecutor(2, mp_context=get_context("spawn")),
    ):
        with executor, running_on(executor):
            found.append(_greedi(features, 12, partitions=5))
    assert all(own == found[0] for own in found)


def test_processes_of_its_own_do_the_same():
    features = _clustered(200)
    own = _greedi(features, 10, partitions=2)
    with running_on(_Inline()):
        assert own == _greedi(features, 10, partitions=2)


def test_partitions_go_beside_what_is_chosen_already():
    features, already = _clustered(60), np.array([50, 4, 9])
    with running_on(_Inline()):
        found = _greedi(features, 57, partitions=4, already=already)
    assert sorted([*found, *already]) == list(range(60))


def test_as_many_partitions_as_images_and_more():
    with running_on(_Inline()):
        assert sorted(_greedi(some_features(5, seed=0), 5, partitions=9)) == list(range(5))
    with pytest.raises(UserError, match="partitions"):
        _greedi(some_features(5, seed=0), 2, partitions=-1)


def _mapped(features: np.ndarray, folder) -> Pool:
    np.save(folder / "features.npy", features)
    pool = pool_of(features)
    return Pool(pool.images, lambda: pytest.fail("asked for signals"), lambda: np.load(folder / "features.npy", "r"))


def test_workers_get_their_rows_or_the_name_of_a_file(tmp_path):
    features = _clustered(2000)
    for pool, most in ((pool_of(features), 1.2 * features.nbytes / 4), (_mapped(features, tmp_path), 8_000)):
        executor = _Inline()
        with running_on(executor):
            found = facility_location(pool, 20, rng=np.random.default_rng(0), partitions=4)
        assert max(executor.sent) < most
        assert found.tolist() == _again(features)


def _again(features: np.ndarray) -> list[int]:
    with running_on(_Inline()):
        return _greedi(features, 20, partitions=4)


@pytest.mark.parametrize("method", ["facility_location", "streaming", "k_center", "herding"])
def test_half_precision_in_a_file_is_read_part_by_part(method, tmp_path):
    half = _clustered(300).astype(np.float16)
    pool = _mapped(half, tmp_path)
    assert pool.part(np.arange(5)).features.dtype == np.float32
    found = choose(pool, 12, method=method)
    assert found.indices.tolist() == choose(pool_of(half.astype(np.float32)), 12, method=method).indices.tolist()


def test_a_view_of_a_mapping_is_not_taken_for_the_file(tmp_path):
    features = _clustered(50)
    np.save(tmp_path / "features.npy", features)
    pool = Pool(pool_of(features[10:]).images, pytest.fail, lambda: np.load(tmp_path / "features.npy", "r")[10:])
    assert np.array_equal(pool.features, features[10:])
    assert np.array_equal(pool.part(np.array([3, 1])).features, features[[13, 11]])


def test_a_part_leaves_its_choice_and_witnesses_of_the_others():
    features = unit(np.repeat(np.eye(3), [5, 3, 2], axis=0))
    left = left_by(features, 2, before=1, rng=np.random.default_rng(0))
    assert 5 <= left.rows[0] < 8 <= left.rows[1]
    assert len(set(left.witnesses.tolist()) - {0, *left.rows.tolist()}) == 2
    assert left.weight == 7 / 2
    assert len(left_by(features, 20, before=1, rng=np.random.default_rng(0)).rows) == 9


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(module, "_READ", 250)
    monkeypatch.setattr(module, "_PIECE", 100)


@pytest.mark.parametrize("order", ["any", "sorted"])
def test_one_pass_reaches_the_central_greedy(order, small_pieces):
    features = _clustered(1200)
    if order == "sorted":  # the worst stream: one kind of image after the other
        features = features[np.argsort(features[:, 0])]
    found = streaming(pool_of(features), 40, rng=np.random.default_rng(0))
    assert len(set(found.tolist())) == 40
    assert _share_of_gain(features, found, 40) > 0.75  # each of 13 pieces leaves 14


def test_one_pass_reads_every_row_once_and_in_order(small_pieces, monkeypatch):
    pool, read = pool_of(_clustered(600), classes=3), []
    part = Pool.part
    monkeypatch.setattr(Pool, "part", lambda self, rows: (read.extend(rows.tolist()), part(self, rows))[1])
    found = choose(pool, 30, method="streaming").indices
    assert read == list(range(600))
    assert np.bincount(pool.labels[found]).tolist() == [10, 10, 10]


def test_one_pass_goes_beside_what_is_chosen_already(small_pieces):
    features, already = _clustered(400), np.arange(0, 300)
    found = streaming(pool_of(features), 100, rng=np.random.default_rng(0), already=already)
    assert sorted(found.tolist()) == list(range(300, 400))


def test_workers_that_end_early_are_told_in_one_line():
    class Broken(Executor):
        def map(self, *args, **rest):
            raise BrokenProcessPool("a child process terminated abruptly")

    with running_on(Broken()), pytest.raises(UserError, match=r"ended before they were done.*__main__"):
        choose(pool_of(some_features(40, seed=0)), 5, method="facility_location", options={"partitions": 2})
