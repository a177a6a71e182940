from __future__ import annotations

from shoestring.config.recipe import SweepRecipe
from shoestring.config.sweep import Sweep
from shoestring.experiments.outcome import Outcome
from shoestring.experiments.schedule import Schedule
from shoestring.experiments.search import Listed

COSTS = {"macs": 10, "params": 5, "latency_ms": 1.0, "seconds": 2.0}


class Told(Listed):
    """Remembers what it is told."""

    def __init__(self, combinations):
        super().__init__(combinations)
        self.told = []

    def tell(self, index, values, scores):
        self.told.append((index, list(scores)))


def schedule(count: int, known=(), **settings) -> tuple[Schedule, Told]:
    combinations = [{"train.width": number} for number in range(count)]
    search = Told(combinations)
    recipe = SweepRecipe(sweep=Sweep(over={"train.width": list(range(count))}, **settings))
    return Schedule(recipe, search, known), search


def outcome(accuracy: float) -> Outcome:
    return Outcome(accuracy, (accuracy, accuracy), 10, 20, COSTS)


def test_all_seeds_of_a_combination_come_before_the_next_one():
    plan, search = schedule(2, seeds=2)
    names = []
    while (trial := plan.next()) is not None:
        names.append(trial.name)
        plan.record(trial, outcome(0.5 + 0.1 * trial.seed))
    assert names == ["001-seed-0", "001-seed-1", "002-seed-0", "002-seed-1"]
    assert plan.total == 4 and search.told == [(0, [0.55]), (1, [0.55])]


def test_the_second_objective_is_told():
    plan, search = schedule(1, against="macs")
    trial = plan.next()
    assert trial is not None
    plan.record(trial, outcome(0.5))
    assert search.told == [(0, [0.5, 10])]


def test_halving_keeps_the_most_accurate_after_each_round():
    plan, _ = schedule(9, halving=3)
    assert plan.sizes == [9, 3, 1] and plan.left() == [9, 3, 1]
    started = []
    first = [plan.next() for _ in range(9)]
    assert plan.next() is None  # the round is not finished
    assert plan.left() == [0, 3, 1]
    for trial in first:
        assert trial is not None
        plan.record(trial, outcome(abs(trial.setting - 4) / 10))
    while (trial := plan.next()) is not None:
        started.append((trial.setting, trial.rung))
        plan.record(trial, outcome(trial.setting / 10))
    assert started == [(0, 1), (8, 1), (1, 1), (8, 2)] and plan.next() is None


def test_failed_runs_do_not_advance():
    plan, _ = schedule(3, halving=3)
    for accuracy in (None, 0.1, None):
        trial = plan.next()
        assert trial is not None
        plan.record(trial, Outcome(error="broken") if accuracy is None else outcome(accuracy))
    last = plan.next()
    assert last is not None and (last.setting, last.rung) == (1, 1)


def test_combinations_of_an_interrupted_search_come_first():
    plan, _ = schedule(3, known=[{"train.width": 7}])
    for _ in range(3):
        plan.next()
    assert [values["train.width"] for values in plan.settings] == [7, 1, 2]


class Short(Told):
    """Finds only two of its combinations."""

    def propose(self, index, known=()):
        return super().propose(index, known) if index < 2 else None


def test_the_search_ends_when_it_finds_no_other_combination():
    messages: list[str] = []
    recipe = SweepRecipe(sweep=Sweep(over={"train.width": [1, 2, 3, 4]}, halving=2))
    plan = Schedule(recipe, Short([{"train.width": number} for number in range(4)]), (), messages.append)
    names = []
    while (trial := plan.next()) is not None:
        names.append(trial.name)
        plan.record(trial, outcome(0.5 + 0.1 * trial.setting))
    assert names == ["001-seed-0", "002-seed-0", "002-seed-0-round-2"] and plan.total == 3 and plan.left() == [0]
    assert messages == ["the search ends after 2 of 4 combinations: it proposes no other ones"]


def test_folds_are_runs_of_one_combination():
    plan = Schedule(SweepRecipe(sweep=Sweep(folds=3)), Listed([{}]))
    folds = [plan.next() for _ in range(3)]
    assert [str(trial.fold) for trial in folds if trial] == ["1/3", "2/3", "3/3"] and plan.next() is None
