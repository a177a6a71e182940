from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shoestring.config.difficulty import Difficulty
from shoestring.errors import UserError
from shoestring.selection import Pool, Signals, Strategy, select_subset
from shoestring.selection.difficulty import within_range


def _signals(margins: np.ndarray) -> Signals:
    count = len(margins)
    features = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (count, 1))
    return Signals(features, np.zeros(count, int), np.ones(count, bool), np.zeros(count), margins)


@pytest.fixture
def pool(images) -> Pool:
    signals = _signals(np.random.default_rng(0).permutation(60).astype(float))
    return Pool(images, lambda: signals)


@pytest.mark.parametrize(
    ("within", "expected"),
    [
        ("easiest:0.25", range(45, 60)),
        ("hardest:0.1", range(6)),
        ("middle:0.5", range(15, 45)),
        ("easiest:1", range(60)),
    ],
)
def test_the_range_is_by_the_final_margin(pool, within, expected):
    rows = within_range(pool, np.arange(60), Difficulty.parse(within), size=1, rng=np.random.default_rng(0))
    assert np.array_equal(rows, np.sort(rows))
    assert sorted(pool.final_margin[rows].tolist()) == list(expected)


def test_ties_are_broken_at_random(images):
    pool = Pool(images, lambda: _signals(np.zeros(60)))
    rows = [
        within_range(
            pool, np.arange(60), Difficulty.parse("easiest:0.2"), size=1, rng=np.random.default_rng(seed)
        ).tolist()
        for seed in (0, 0, 1)
    ]
    assert rows[0] == rows[1] != rows[2]


def test_a_range_has_at_least_one_image(pool):
    assert (
        len(within_range(pool, np.arange(60), Difficulty.parse("easiest:0.001"), size=1, rng=np.random.default_rng(0)))
        == 1
    )


@pytest.mark.parametrize("method", ["random", "margin", "diversity"])
def test_every_method_selects_within_the_range_of_each_class(pool, method):
    subset = select_subset(pool, 12, Strategy(method, within=Difficulty.parse("easiest:0.3")), seed=3)
    assert len(set(subset.indices.tolist())) == 12
    for label in range(3):
        rows = np.flatnonzero(pool.labels == label)
        easiest = rows[np.argsort(-pool.final_margin[rows])[:6]]
        assert set(subset.indices[pool.labels[subset.indices] == label]) <= set(easiest)
    assert subset.within == "easiest:0.3"


def test_without_balance_the_range_is_of_all_images(pool):
    subset = select_subset(pool, 6, Strategy("random", within=Difficulty.parse("hardest:0.1")), balance="none", seed=0)
    assert sorted(pool.final_margin[subset.indices].tolist()) == list(range(6))


def test_a_range_with_too_few_images_raises_an_error(pool):
    with pytest.raises(UserError, match="leaves 2 of 20 images, but 4 are to be selected"):
        select_subset(pool, 12, Strategy("random", within=Difficulty.parse("easiest:0.1")))


@pytest.mark.parametrize("text", ["easiest", "easiest:", "easiest:0", "hardest:1.5", "middle:half", "hardest:nan"])
def test_a_range_is_a_kind_and_a_fraction(text):
    with pytest.raises(UserError, match="needs a fraction"):
        Difficulty.parse(text)


def test_an_unknown_kind_raises_an_error():
    with pytest.raises(UserError, match="Did you mean 'easiest'"):
        Difficulty.parse("easyest:0.2")


def test_signals_are_saved_and_loaded_for_the_same_images_only(images, tmp_path):
    signals = _signals(np.arange(60.0))
    file = tmp_path / "signals.npz"
    signals.save(file, images.fingerprint)
    loaded = Signals.load(file, images.fingerprint)
    for name, value in vars(signals).items():
        assert np.array_equal(getattr(loaded, name), value)
    with pytest.raises(UserError, match="of other images"):
        Signals.load(file, "else")
    file.write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a signals file"):
        Signals.load(file, images.fingerprint)
    assert replace(loaded, margin=signals.margin).margin is signals.margin
