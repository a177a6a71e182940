from __future__ import annotations

import math
import sys

import pytest

from shoestring.config.recipe import SweepRecipe
from shoestring.config.sweep import Sweep
from shoestring.errors import UserError
from shoestring.experiments.search import make_search

LISTS = {"train.width": ["0.5", "1"], "train.model": ["convnet", "simplecnn", "conv2"]}
RANGES = {"train.learning_rate": "0.001..0.1:log", "train.batch_size": "8..64", "train.model": ["convnet", "conv2"]}


def proposals(**settings) -> list[dict]:
    search = make_search(SweepRecipe(sweep=Sweep(**settings), seed=settings.pop("seed", 0)))
    return [search.propose(index) for index in range(search.count)]


def test_a_grid_is_all_combinations():
    found = proposals(over=LISTS)
    assert len({str(values) for values in found}) == len(found) == 6
    assert found[0] == {"train.width": "0.5", "train.model": "convnet"}


def test_random_combinations_differ_and_can_be_repeated():
    found = proposals(over=LISTS, search="random", trials=4)
    assert len({str(values) for values in found}) == 4 and found == proposals(over=LISTS, search="random", trials=4)
    assert len(proposals(over=LISTS, search="random", trials=50)) == 6


def test_random_values_are_in_their_ranges():
    found = proposals(over=RANGES, search="random", trials=200)
    rates = [values["train.learning_rate"] for values in found]
    assert all(0.001 <= rate <= 0.1 for rate in rates) and 70 < sum(rate < 0.01 for rate in rates) < 130
    assert {type(values["train.batch_size"]) for values in found} == {int}
    assert {values["train.batch_size"] for values in found} <= set(range(8, 65))


def rates_of_tpe(sign: int) -> list[float]:
    """Learning rates that TPE proposes after ten trials, where those near 0.06 have the best scores, or the worst."""
    search, rates = make_search(SweepRecipe(sweep=Sweep(over=RANGES, search="tpe", trials=30))), []
    for index in range(30):
        values = search.propose(index)
        assert values is not None and values["train.model"] in ("convnet", "conv2")
        assert 8 <= values["train.batch_size"] <= 64
        rates.append(values["train.learning_rate"])
        search.tell(index, values, [-sign * abs(math.log10(rates[-1]) + 1.2)])
    return rates[10:]


def test_tpe_proposes_what_had_better_scores():
    pytest.importorskip("optuna")
    best, worst = (sum(map(math.log10, rates_of_tpe(sign))) / 20 for sign in (1, -1))
    assert best > worst + 0.5


def test_tpe_continues_from_recorded_results_and_two_objectives():
    pytest.importorskip("optuna")
    search = make_search(SweepRecipe(sweep=Sweep(over=RANGES, search="tpe", trials=4, against="macs")))
    search.tell(0, {"train.learning_rate": 0.01, "train.batch_size": 16, "train.model": "conv2"}, [0.5, 1000])
    assert set(search.propose(1)) == set(RANGES)


def test_tpe_proposes_no_combination_twice():
    pytest.importorskip("optuna")
    search, known = make_search(SweepRecipe(sweep=Sweep(over=LISTS, search="tpe", trials=20))), []
    while (values := search.propose(len(known), known)) is not None:
        assert values not in known
        known.append(values)
        search.tell(len(known) - 1, values, [float(values["train.model"] == "conv2")])
    assert len(known) == 6
    again = make_search(SweepRecipe(sweep=Sweep(over=LISTS, search="tpe", trials=20)))
    assert again.propose(5, known[:5]) == known[5] and again.propose(6, known) is None


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r'pip install "shoestring\[sweep\]"'):
        make_search(SweepRecipe(sweep=Sweep(over=RANGES, search="tpe")))
