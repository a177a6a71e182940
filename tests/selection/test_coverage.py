"""Coverage methods: facility location, MaxHerding, ProbCover, and their shared machinery."""

from __future__ import annotations

import numpy as np
import pytest

from pools import brute_force, pool_of, some_features, unit
from shoestring.errors import UserError
from shoestring.selection.algorithms import gpu, partitions
from shoestring.selection.algorithms import similarity as blocks
from shoestring.selection.algorithms.gpu import GpuSimilarity, gpu_pays_off
from shoestring.selection.algorithms.pairs import list_pairs
from shoestring.selection.algorithms.partitions import cover_features
from shoestring.selection.algorithms.similarity import BlockSimilarity, DenseSimilarity, similarity
from shoestring.selection.methods.facility_location import facility_location
from shoestring.selection.methods.max_herding import max_herding, median_distance
from shoestring.selection.methods.prob_cover import prob_cover, pure_radius


def _coverage(matrix: np.ndarray, selected) -> float:
    """Sum over all images of the highest similarity, at least 0, to a selected one."""
    return float(np.maximum(matrix[:, list(selected)].max(1), 0).sum()) if len(selected) else 0.0


def _greedy_on_matrix(matrix: np.ndarray, size: int, ranking: tuple[int, ...] = ()) -> tuple[list[int], float]:
    """Greedy selection on a matrix, or the given ranking; and the largest loss of a step against the best gain."""
    best, selected, loss = np.zeros(len(matrix)), [], 0.0
    for rank in range(size):
        gains = np.maximum(matrix - best[:, None], 0).sum(0)
        gains[selected] = -1
        selected.append(ranking[rank] if ranking else int(gains.argmax()))
        loss = max(loss, gains.max() - gains[selected[-1]])
        best = np.maximum(best, matrix[:, selected[-1]])
    return selected, loss


ENGINES = ["dense", "blocks", "blocks, never listed", "dense, listed late", "blocks, listed late", "gpu"]


@pytest.fixture(params=ENGINES)
def engine(request, monkeypatch):
    """All implementations of similarity, with uneven block sizes; the GPU is simulated on the CPU."""
    if request.param == "gpu":
        monkeypatch.setattr(partitions, "gpu_pays_off", lambda device, features: True)
        monkeypatch.setattr(gpu, "_MAX_CELLS", 500)
        monkeypatch.setattr(GpuSimilarity, "max_pairs", 300)
    monkeypatch.setattr(blocks, "_MAX_DENSE_BYTES", 10**9 if "dense" in request.param else 0)
    if "listed" in request.param:
        for kind in (DenseSimilarity, BlockSimilarity):
            monkeypatch.setattr(kind, "max_pairs", 300 if "late" in request.param else -1)
    monkeypatch.setattr(blocks, "_MAX_CELLS", 500)
    monkeypatch.setattr(blocks, "_ROWS", 7)
    monkeypatch.setattr(blocks, "_COLUMNS", 11)
    return request.param


@pytest.mark.parametrize("seed", range(8))
def test_facility_location_equals_brute_force(seed, engine):
    features = some_features(30, seed=seed)
    matrix = features.astype(np.float64) @ features.T
    found = facility_location(pool_of(features), 5, rng=np.random.default_rng(0))
    assert found.tolist() == brute_force(lambda selected: _coverage(matrix, selected), 30, 5)


@pytest.mark.parametrize("shape", ["scattered", "clusters"])
def test_gains_stay_exact_over_many_steps(engine, shape):
    rng = np.random.default_rng(1)
    features = some_features(400, seed=1)
    if shape == "clusters":
        features = unit(np.abs(some_features(40, seed=2)[rng.integers(0, 40, 400)] + 0.3 * features))
    found = cover_features(features, 150, rng=rng)
    # Two images that would cover only each other tie, so gains are compared and not images.
    _, loss = _greedy_on_matrix(features.astype(np.float64) @ features.T, 150, ranking=tuple(found))
    assert loss < 3e-6
    assert len(set(found.tolist())) == 150


def test_all_implementations_of_similarity_agree(monkeypatch):
    monkeypatch.setattr(blocks, "_ROWS", 7)
    monkeypatch.setattr(blocks, "_COLUMNS", 11)
    features, rng = some_features(50, seed=3), np.random.default_rng(0)
    matrix = features @ features.T
    best = rng.random(50).astype(np.float32)
    rows = rng.permutation(50)[:9]
    expected = np.maximum(matrix - best, 0).sum(1)
    plain = [kind(features, lambda cosines: cosines) for kind in (DenseSimilarity, BlockSimilarity)]
    for own in (*plain, GpuSimilarity(features, "cpu")):
        assert np.allclose(own.rows(rows), matrix[rows], atol=1e-6)
        assert np.allclose(own.rows(slice(3, 8)), matrix[3:8], atol=1e-6)
        assert np.allclose(blocks.gains(own, rows, best), expected[rows], atol=1e-5)
        assert np.allclose(own.all_gains(best), expected, atol=1e-5)


def test_first_gains_are_sums_of_cosines_if_none_is_negative():
    features = unit(np.abs(some_features(50, seed=3)))
    own = BlockSimilarity(features, None)
    assert own.nonnegative and not BlockSimilarity(some_features(50, seed=3), None).nonnegative
    assert np.allclose(own.all_gains(np.zeros(50, dtype=np.float32)), (features @ features.T).sum(1), atol=1e-4)


@pytest.mark.parametrize("expected", [1, 10_000])
def test_listed_pairs_keep_gains_exact(expected, engine):
    features, rng = some_features(40, seed=3), np.random.default_rng(0)
    matrix = features.astype(np.float64) @ features.T
    best = rng.random(40).astype(np.float32) / 2
    pairs = list_pairs(similarity(features), best.copy(), expected)
    for pick in rng.permutation(40)[:10]:
        assert np.allclose(pairs.gains, np.maximum(matrix - best, 0).sum(1), atol=1e-5)
        pairs.add(*pairs.row(pick))
        best = np.maximum(best, matrix[pick].astype(np.float32))
        assert np.allclose(pairs.best, best, atol=1e-6)


def test_cosines_are_not_squared():
    """The opposite vector -e is not similar to e; only -e itself covers it."""
    features = unit([[1, 0], [-1, 0], [0.9, 0.1], [0.8, -0.3]])
    found = facility_location(pool_of(features), 2, rng=np.random.default_rng(0))
    assert found[1] == 1  # only itself covers the opposite
    matrix = np.maximum(features @ features.T, 0)
    assert found[0] == matrix.sum(1).argmax()


def test_stochastic_greedy_loses_little():
    features = some_features(300, seed=5)
    matrix = features @ features.T
    exact = _coverage(matrix, _greedy_on_matrix(matrix, 20)[0])
    sampled = facility_location(pool_of(features), 20, rng=np.random.default_rng(0), sample=0.2)
    baseline = np.mean([_coverage(matrix, np.random.default_rng(seed).permutation(300)[:20]) for seed in range(20)])
    assert len(set(sampled.tolist())) == 20
    assert baseline < _coverage(matrix, sampled) <= exact + 1e-3
    assert (_coverage(matrix, sampled) - baseline) / (exact - baseline) > 0.7


@pytest.mark.parametrize("options", [{"sample": 0}, {"sample": 1.5}, {"neighbors": -1}])
def test_facility_location_options_out_of_range_raise_errors(options):
    with pytest.raises(UserError, match="facility_location's"):
        facility_location(pool_of(np.eye(3, dtype=np.float32)), 2, rng=np.random.default_rng(0), **options)


@pytest.mark.parametrize("bandwidth", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(4))
def test_max_herding_equals_brute_force(seed, bandwidth, engine):
    features = some_features(30, seed=seed, dimensions=4)
    distances = np.linalg.norm(features[:, None].astype(np.float64) - features[None], axis=2)
    width = bandwidth or np.median(distances[np.triu_indices(30, 1)])
    matrix = np.exp(-(distances**2) / (2 * width**2))
    found = max_herding(pool_of(features), 5, rng=np.random.default_rng(0), bandwidth=bandwidth)
    assert found.tolist() == brute_force(lambda selected: _coverage(matrix, selected), 30, 5)


def test_the_bandwidth_of_a_sample_is_close_to_that_of_all_images():
    features = some_features(1500, seed=0)
    squares = (2 - 2 * features @ features.T)[np.triu_indices(1500, 1)]
    assert median_distance(features, np.random.default_rng(0)) == pytest.approx(np.sqrt(np.median(squares)), rel=0.02)
    assert median_distance(features[:1], np.random.default_rng(0)) == 1
    assert median_distance(np.ones((5, 1), dtype=np.float32), np.random.default_rng(0)) == 1


def _count_in_balls(features: np.ndarray, selected, radius: float) -> int:
    distances = np.linalg.norm(features[:, None].astype(np.float64) - features[None, list(selected)], axis=2)
    return int((distances < radius).any(1).sum())


@pytest.mark.parametrize("seed", range(6))
def test_prob_cover_covers_the_most_images_at_every_step(seed, engine):
    features = some_features(30, seed=seed, dimensions=3)
    found = prob_cover(pool_of(features), 5, rng=np.random.default_rng(seed), radius=0.6)
    for rank in range(5):  # many images tie, so gains are compared and not images
        best = max(_count_in_balls(features, [*found[:rank], i], 0.6) for i in range(30))
        assert _count_in_balls(features, found[: rank + 1], 0.6) == best


def test_prob_cover_can_select_every_image():
    """Also the last rows of a pool that is not a multiple of the block size, where the largest cluster is."""
    spread = unit(np.eye(3)[np.arange(520) % 3] + 0.3 * some_features(520, seed=0, dimensions=3))
    cluster = unit(-np.ones((400, 3)) + 0.01 * some_features(400, seed=1, dimensions=3))
    found = prob_cover(pool_of(np.concatenate([spread, cluster])), 1, rng=np.random.default_rng(0), radius=0.3)
    assert found[0] >= 520


@pytest.mark.parametrize("seed", range(4))
def test_the_radius_is_the_largest_with_enough_pure_balls(seed):
    rng = np.random.default_rng(seed)
    features, labels = some_features(40, seed=seed, dimensions=3), rng.integers(0, 3, 40)
    radius = pure_radius(features, labels, rng)
    distances = np.linalg.norm(features[:, None].astype(np.float64) - features[None], axis=2)

    def purity(of: float) -> float:
        return float(np.mean([len(set(labels[row < of])) <= 1 for row in distances]))

    assert purity(radius - 1e-4) >= 0.95
    assert purity(radius + 1e-4) < 0.95


def test_the_radius_is_largest_with_a_single_label():
    assert pure_radius(some_features(9, seed=0), np.zeros(9, dtype=int), np.random.default_rng(0)) == 2


def test_a_gpu_is_used_for_many_images_if_they_fit(monkeypatch):
    many, few = np.zeros((10_000, 2), dtype=np.float32), np.zeros((1000, 2), dtype=np.float32)
    free = {"cuda": 2 * 10**9, "cuda:1": 10**8}
    monkeypatch.setattr(gpu, "_free_memory", free.__getitem__)
    assert gpu_pays_off("cuda", many)
    assert not gpu_pays_off("cuda:1", many)
    assert not gpu_pays_off("cuda", few)
    assert not gpu_pays_off("mps", many)
    assert not gpu_pays_off("cpu", many)


@pytest.mark.filterwarnings("error")
def test_the_gpu_accepts_read_only_features():
    features = some_features(20, seed=0)
    features.flags.writeable = False
    assert np.allclose(GpuSimilarity(features, "cpu").rows(slice(2)), features[:2] @ features.T, atol=1e-6)
