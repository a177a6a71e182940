from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shoestring.errors import UserError
from shoestring.selection import Pool, Signals, choose
from shoestring.selection.difficulty import parse, rows_within


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
def test_the_part_is_by_the_margin_of_the_trained_proxy(pool, within, expected):
    rows = rows_within(pool, within, least=1, rng=np.random.default_rng(0))
    assert np.array_equal(rows, np.sort(rows))
    assert sorted(pool.final_margin[rows].tolist()) == list(expected)


def test_equal_margins_are_no_reason_to_take_the_first(images):
    pool = Pool(images, lambda: _signals(np.zeros(60)))
    rows = [rows_within(pool, "easiest:0.2", least=1, rng=np.random.default_rng(seed)).tolist() for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]


def test_a_part_always_has_an_image(pool):
    assert len(rows_within(pool, "easiest:0.001", least=1, rng=np.random.default_rng(0))) == 1


@pytest.mark.parametrize("method", ["random", "margin", "diversity"])
def test_every_method_chooses_inside_the_part_of_each_class(pool, method):
    subset = choose(pool, 12, method=method, within="easiest:0.3", seed=3)
    assert len(set(subset.indices.tolist())) == 12
    for label in range(3):
        rows = np.flatnonzero(pool.labels == label)
        easiest = rows[np.argsort(-pool.final_margin[rows])[:6]]
        assert set(subset.indices[pool.labels[subset.indices] == label]) <= set(easiest)
    assert subset.within == "easiest:0.3"


def test_without_classes_the_part_is_of_all_images(pool):
    subset = choose(pool, 6, method="random", balance="none", within="hardest:0.1", seed=0)
    assert sorted(pool.final_margin[subset.indices].tolist()) == list(range(6))


def test_a_part_too_small_is_refused(pool):
    with pytest.raises(UserError, match="leaves 2 of 20 images, and 4 are to be chosen"):
        choose(pool, 12, method="random", within="easiest:0.1")


@pytest.mark.parametrize("text", ["easiest", "easiest:", "easiest:0", "hardest:1.5", "middle:half", "hardest:nan"])
def test_parts_are_a_kind_and_a_share(text):
    with pytest.raises(UserError, match="needs a share"):
        parse(text)


def test_a_kind_that_is_none_is_told():
    with pytest.raises(UserError, match="Did you mean 'easiest'"):
        parse("easyest:0.2")


def test_signals_come_back_and_are_refused_for_other_images(images, tmp_path):
    signals = _signals(np.arange(60.0))
    file = tmp_path / "signals.npz"
    signals.save(file, images.fingerprint)
    back = Signals.load(file, images.fingerprint)
    for name, value in vars(signals).items():
        assert np.array_equal(getattr(back, name), value)
    with pytest.raises(UserError, match="of other images"):
        Signals.load(file, "else")
    file.write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a file of signals"):
        Signals.load(file, images.fingerprint)
    assert replace(back, margin=signals.margin).margin is signals.margin
