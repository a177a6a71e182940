"""Methods that cover: facility location, MaxHerding, ProbCover, and the engine under them."""

from __future__ import annotations

import numpy as np
import pytest

from pools import pool_of, slow_greedy, some_features, unit
from shoestring.errors import UserError
from shoestring.selection.algorithms import gpu, partitions
from shoestring.selection.algorithms import similarity as blocks
from shoestring.selection.algorithms.gpu import Accelerated, accelerates
from shoestring.selection.algorithms.pairs import pairs_above
from shoestring.selection.algorithms.partitions import covering
from shoestring.selection.algorithms.similarity import Computed, Kept, similarity
from shoestring.selection.methods.facility_location import facility_location
from shoestring.selection.methods.max_herding import max_herding, median_distance
from shoestring.selection.methods.prob_cover import prob_cover, pure_radius


def _covered(table: np.ndarray, chosen) -> float:
    """The sum over all images of the highest similarity, not below 0, to a chosen one."""
    return float(np.maximum(table[:, list(chosen)].max(1), 0).sum()) if len(chosen) else 0.0


def _greedy_by_table(table: np.ndarray, size: int, following: tuple[int, ...] = ()) -> tuple[list[int], float]:
    """The slow greedy on a table, or the choice given; and how much less than the best any step of it gained."""
    best, chosen, short = np.zeros(len(table)), [], 0.0
    for place in range(size):
        gains = np.maximum(table - best[:, None], 0).sum(0)
        gains[chosen] = -1
        chosen.append(following[place] if following else int(gains.argmax()))
        short = max(short, gains.max() - gains[chosen[-1]])
        best = np.maximum(best, table[:, chosen[-1]])
    return chosen, short


WAYS = ["kept", "computed", "computed, never listed", "kept, listed late", "computed, listed late", "accelerated"]


@pytest.fixture(params=WAYS)
def engine(request, monkeypatch):
    """All ways of comparing images, in blocks that do not divide the pool, and from when on pairs are listed.

    The processor stands in for an accelerator.
    """
    if request.param == "accelerated":
        monkeypatch.setattr(partitions, "accelerates", lambda device, features: True)
        monkeypatch.setattr(gpu, "_CELLS", 500)
        monkeypatch.setattr(Accelerated, "room", 300)
    monkeypatch.setattr(blocks, "_KEPT", 10**9 if "kept" in request.param else 0)
    if "listed" in request.param:
        for kind in (Kept, Computed):
            monkeypatch.setattr(kind, "room", 300 if "late" in request.param else -1)
    monkeypatch.setattr(blocks, "_CELLS", 500)
    monkeypatch.setattr(blocks, "_ROWS", 7)
    monkeypatch.setattr(blocks, "_COLUMNS", 11)
    return request.param


@pytest.mark.parametrize("seed", range(8))
def test_facility_location_is_the_slow_greedy(seed, engine):
    features = some_features(30, seed=seed)
    table = features.astype(np.float64) @ features.T
    found = facility_location(pool_of(features), 5, rng=np.random.default_rng(0))
    assert found.tolist() == slow_greedy(lambda chosen: _covered(table, chosen), 30, 5)


@pytest.mark.parametrize("shape", ["scattered", "clusters"])
def test_the_engine_keeps_exact_over_many_steps(engine, shape):
    rng = np.random.default_rng(1)
    features = some_features(400, seed=1)
    if shape == "clusters":
        features = unit(np.abs(some_features(40, seed=2)[rng.integers(0, 40, 400)] + 0.3 * features))
    found = covering(features, 150, rng=rng)
    # Two images that would cover only each other gain the same, so the gain is compared and not the image.
    _, short = _greedy_by_table(features.astype(np.float64) @ features.T, 150, following=tuple(found))
    assert short < 3e-6
    assert len(set(found.tolist())) == 150


def test_all_ways_of_comparing_answer_the_same(monkeypatch):
    monkeypatch.setattr(blocks, "_ROWS", 7)
    monkeypatch.setattr(blocks, "_COLUMNS", 11)
    features, rng = some_features(50, seed=3), np.random.default_rng(0)
    table = features @ features.T
    best = rng.random(50).astype(np.float32)
    rows = rng.permutation(50)[:9]
    expected = np.maximum(table - best, 0).sum(1)
    plain = [kind(features, lambda cosines: cosines) for kind in (Kept, Computed)]
    for own in (*plain, Accelerated(features, "cpu")):
        assert np.allclose(own.rows(rows), table[rows], atol=1e-6)
        assert np.allclose(own.rows(slice(3, 8)), table[3:8], atol=1e-6)
        assert np.allclose(blocks.gains(own, rows, best), expected[rows], atol=1e-5)
        assert np.allclose(own.all_gains(best), expected, atol=1e-5)


def test_sums_of_cosines_stand_for_gains_where_none_is_negative():
    features = unit(np.abs(some_features(50, seed=3)))
    own = Computed(features, None)
    assert own.none_is_negative and not Computed(some_features(50, seed=3), None).none_is_negative
    assert np.allclose(own.all_gains(np.zeros(50, dtype=np.float32)), (features @ features.T).sum(1), atol=1e-4)


@pytest.mark.parametrize("expected", [1, 10_000])
def test_listed_pairs_keep_every_gain_exact(expected, engine):
    features, rng = some_features(40, seed=3), np.random.default_rng(0)
    table = features.astype(np.float64) @ features.T
    best = rng.random(40).astype(np.float32) / 2
    pairs = pairs_above(similarity(features), best.copy(), expected)
    for pick in rng.permutation(40)[:10]:
        assert np.allclose(pairs.gains, np.maximum(table - best, 0).sum(1), atol=1e-5)
        pairs.add(*pairs.row(pick))
        best = np.maximum(best, table[pick].astype(np.float32))
        assert np.allclose(pairs.best, best, atol=1e-6)


def test_cosines_are_not_squared():
    """An opposite is unlike: between e and -e with a third image near e, the third covers more than -e does."""
    features = unit([[1, 0], [-1, 0], [0.9, 0.1], [0.8, -0.3]])
    found = facility_location(pool_of(features), 2, rng=np.random.default_rng(0))
    assert found[1] == 1  # nothing but itself covers the opposite
    table = np.maximum(features @ features.T, 0)
    assert found[0] == table.sum(1).argmax()


def test_a_sample_of_the_candidates_costs_little():
    features = some_features(300, seed=5)
    table = features @ features.T
    exact = _covered(table, _greedy_by_table(table, 20)[0])
    sampled = facility_location(pool_of(features), 20, rng=np.random.default_rng(0), sample=0.2)
    by_chance = np.mean([_covered(table, np.random.default_rng(seed).permutation(300)[:20]) for seed in range(20)])
    assert len(set(sampled.tolist())) == 20
    assert by_chance < _covered(table, sampled) <= exact + 1e-3
    assert (_covered(table, sampled) - by_chance) / (exact - by_chance) > 0.7


@pytest.mark.parametrize("options", [{"sample": 0}, {"sample": 1.5}, {"neighbours": -1}])
def test_facility_location_refuses_what_makes_no_sense(options):
    with pytest.raises(UserError, match="facility_location's"):
        facility_location(pool_of(np.eye(3, dtype=np.float32)), 2, rng=np.random.default_rng(0), **options)


@pytest.mark.parametrize("bandwidth", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(4))
def test_max_herding_is_the_slow_greedy(seed, bandwidth, engine):
    features = some_features(30, seed=seed, dimensions=4)
    distances = np.linalg.norm(features[:, None].astype(np.float64) - features[None], axis=2)
    width = bandwidth or np.median(distances[np.triu_indices(30, 1)])
    table = np.exp(-(distances**2) / (2 * width**2))
    found = max_herding(pool_of(features), 5, rng=np.random.default_rng(0), bandwidth=bandwidth)
    assert found.tolist() == slow_greedy(lambda chosen: _covered(table, chosen), 30, 5)


def test_the_bandwidth_of_a_sample_is_near_that_of_all():
    features = some_features(1500, seed=0)
    squares = (2 - 2 * features @ features.T)[np.triu_indices(1500, 1)]
    assert median_distance(features, np.random.default_rng(0)) == pytest.approx(np.sqrt(np.median(squares)), rel=0.02)
    assert median_distance(features[:1], np.random.default_rng(0)) == 1
    assert median_distance(np.ones((5, 1), dtype=np.float32), np.random.default_rng(0)) == 1


def _in_balls(features: np.ndarray, chosen, radius: float) -> int:
    distances = np.linalg.norm(features[:, None].astype(np.float64) - features[None, list(chosen)], axis=2)
    return int((distances < radius).any(1).sum())


@pytest.mark.parametrize("seed", range(6))
def test_prob_cover_brings_the_most_images_into_balls_at_every_step(seed, engine):
    features = some_features(30, seed=seed, dimensions=3)
    found = prob_cover(pool_of(features), 5, rng=np.random.default_rng(seed), radius=0.6)
    for place in range(5):  # many images tie, so the gain is compared and not the image
        best = max(_in_balls(features, [*found[:place], i], 0.6) for i in range(30))
        assert _in_balls(features, found[: place + 1], 0.6) == best


def test_every_image_can_be_chosen_by_prob_cover():
    """Also the last rows of a pool that blocks do not divide: the largest cluster stands there."""
    few = unit(np.eye(3)[np.arange(520) % 3] + 0.3 * some_features(520, seed=0, dimensions=3))
    many = unit(-np.ones((400, 3)) + 0.01 * some_features(400, seed=1, dimensions=3))
    found = prob_cover(pool_of(np.concatenate([few, many])), 1, rng=np.random.default_rng(0), radius=0.3)
    assert found[0] >= 520


@pytest.mark.parametrize("seed", range(4))
def test_the_radius_is_the_largest_with_pure_balls(seed):
    rng = np.random.default_rng(seed)
    features, labels = some_features(40, seed=seed, dimensions=3), rng.integers(0, 3, 40)
    radius = pure_radius(features, labels, rng)
    distances = np.linalg.norm(features[:, None].astype(np.float64) - features[None], axis=2)

    def purity(of: float) -> float:
        return float(np.mean([len(set(labels[row < of])) <= 1 for row in distances]))

    assert purity(radius - 1e-4) >= 0.95
    assert purity(radius + 1e-4) < 0.95


def test_balls_of_one_label_are_as_large_as_they_can_be():
    assert pure_radius(some_features(9, seed=0), np.zeros(9, dtype=int), np.random.default_rng(0)) == 2


def test_an_accelerator_is_used_for_many_images_where_there_is_one_with_room(monkeypatch):
    many, few = np.zeros((10_000, 2), dtype=np.float32), np.zeros((1000, 2), dtype=np.float32)
    room = {"cuda": 2 * 10**9, "cuda:1": 10**8}
    monkeypatch.setattr(gpu, "_free", room.__getitem__)
    assert accelerates("cuda", many)
    assert not accelerates("cuda:1", many)
    assert not accelerates("cuda", few)
    assert not accelerates("mps", many)
    assert not accelerates("cpu", many)


@pytest.mark.filterwarnings("error")
def test_the_accelerator_takes_features_that_nobody_may_write():
    features = some_features(20, seed=0)
    features.flags.writeable = False
    assert np.allclose(Accelerated(features, "cpu").rows(slice(2)), features[:2] @ features.T, atol=1e-6)
