from __future__ import annotations

import math
import os
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring import budget as module
from shoestring.budget import SAFETY_FACTOR, Budget, process_started
from shoestring.config.units import Duration, Flops
from shoestring.errors import BudgetTooSmall, UserError


class Clock:
    """A clock that advances only when a test advances it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "_monotonic", clock)
    return clock


def test_the_process_started_before_now():
    assert process_started() < time.monotonic()


@pytest.mark.parametrize(
    ("age", "used", "expected"),
    [
        (3.0, 2.5, 3.0),  # waited for the disk
        (100.0, 2.5, 2.5),  # of the shell that was replaced
        (-1.0, 2.5, 0.0),  # clocks that disagree
        (None, 2.5, 2.5),  # not Linux
    ],
)
def test_the_start_of_the_process_is_that_of_the_system_unless_a_shell_was_replaced(monkeypatch, age, used, expected):
    ticks = os.sysconf("SC_CLK_TCK")
    fields = ["S", *("0" for _ in range(18)), str(round((1000.0 - (age or 0.0)) * ticks)), "7"]
    text = "" if age is None else f"42 (a ) name) {' '.join(fields)}"
    monkeypatch.setattr(module.Path, "read_text", lambda self: text)
    fake = {"monotonic": lambda: 500.0, "process_time": lambda: used, "clock_gettime": lambda clock: 1000.0}
    monkeypatch.setattr(module, "time", SimpleNamespace(**fake, CLOCK_BOOTTIME=7))
    assert process_started() == pytest.approx(500.0 - expected)


@pytest.mark.parametrize("given", [{}, {"time": "5m", "epochs": 3}, {"epochs": 1, "flops": 1}])
def test_anything_but_one_budget_raises_an_error(given):
    with pytest.raises(UserError, match="one of time, epochs or flops"):
        Budget(**given)


@pytest.mark.parametrize("steps", [("train", "bogus"), {"bogus": 1.0}, "bogus"])
def test_unknown_steps_raise_an_error(steps):
    with pytest.raises(UserError, match=r"unknown step of a budget 'bogus'\. Known: prune, select, train"):
        Budget("5m", steps=steps)


@pytest.mark.parametrize("weight", [0, -1.0, math.nan, math.inf])
def test_invalid_weights_raise_an_error(weight):
    with pytest.raises(UserError, match="weight of the step 'train' must be a number above 0"):
        Budget("5m", steps={"train": weight})


def test_a_single_step_may_be_given_by_its_name():
    assert Budget("5m", steps="train").weights == Budget("5m", steps=("train",)).weights


def test_the_reserve_is_fixed_seconds_and_images_at_the_measured_speed(clock):
    budget = Budget("100s")
    budget.reserve("exit", 2.0)
    budget.reserve("evaluate", 1.0, images=500)
    assert budget.reserved == 3.0
    budget.seconds_per_pass = 0.01
    assert budget.reserved == pytest.approx(3.0 + SAFETY_FACTOR * 5.0)
    budget.reserve("evaluate", images=100)
    assert budget.reserved == pytest.approx(2.0 + SAFETY_FACTOR * 1.0)
    clock.now += 60
    assert budget.remaining == pytest.approx(40 - 3.2)
    clock.now += 60
    assert budget.remaining == 0.0


def test_a_step_may_spend_what_is_reserved_for_it(clock):
    budget = Budget("100s")
    budget.seconds_per_pass = 0.01
    budget.reserve("exit", 2.0)
    budget.reserve("evaluate", 1.0, images=500)
    clock.now += 40
    assert budget.remaining_for("evaluate") == pytest.approx(100 - 40 - 2)
    assert budget.remaining_for("exit") == pytest.approx(100 - 40 - 1 - SAFETY_FACTOR * 5.0)
    assert budget.remaining_for("other") == pytest.approx(100 - 40 - 3 - SAFETY_FACTOR * 5.0)
    clock.now += 100
    assert budget.remaining_for("evaluate") == pytest.approx(-42)
    budget.slowdown = 3.0
    assert budget.remaining_for("evaluate") == pytest.approx(-40 - 3 * 2), "its own seconds are also slower"


def test_tracking_updates_the_ledger_and_releases_the_reserve(clock):
    budget = Budget("100s")
    budget.ledger["load"] = 1.0
    budget.reserve("evaluate", 5.0)
    for _ in range(2):
        with budget.track("evaluate"):
            clock.now += 3
    with pytest.raises(KeyError), budget.track("load"):
        clock.now += 2
        raise KeyError
    assert budget.ledger == {"load": 3.0, "evaluate": 6.0}
    assert budget.reserved == 0.0
    assert budget.spent == 8.0


def test_a_resumed_budget_continues_where_it_stopped(clock):
    ledger = {"load": 30.0}
    budget = Budget.resume("100s", started=90.0, before=30.0, spent=0.0, ledger=ledger)
    assert budget.elapsed == budget.spent == 40.0
    assert budget.ledger == ledger and budget.ledger is not ledger
    counted = Budget.resume(epochs=3, started=90.0, before=30.0, spent=1.5, ledger=ledger)
    assert (counted.elapsed, counted.spent, counted.remaining) == (40.0, 1.5, 1.5)


def test_windows_divide_what_remains_by_weight(clock):
    budget = Budget("100s", steps={"select": 1, "train": 2, "prune": 1})
    select = budget.window("select")
    assert (select.start, select.end) == (0.0, 25.0)
    clock.now += 20  # five seconds remain for later steps
    train = budget.window("train")
    assert train.length == pytest.approx(80 * 2 / 3)
    assert train.fraction == 0.0
    clock.now += train.length / 2
    assert train.fraction == pytest.approx(0.5)
    assert train.ahead(train.length) == 1.0
    clock.now += train.length
    assert (train.fraction, train.remaining) == (1.0, 0.0)
    last = budget.window("prune")
    assert last.end == pytest.approx(100.0)
    assert budget.window("something else").end == 100.0
    assert budget.window("train", fraction=0.0).fraction == 1.0


def test_a_restarted_window_has_the_same_end(clock):
    budget = Budget("100s", steps={"train": 1, "prune": 1})
    budget.reserve("exit", 4)
    window = budget.window("train")
    clock.now += 12
    end = window.end
    window.restart()
    assert (window.start, window.fraction) == (pytest.approx(12), 0.0)
    assert window.end == pytest.approx(end) == pytest.approx(48)
    clock.now += 18
    assert window.fraction == pytest.approx(0.5)
    clock.now += 90
    window.restart()
    assert window.remaining == 0.0


def test_the_end_of_a_window_moves_with_the_reserve(clock):
    budget = Budget("100s", steps=("train",))
    window = budget.window("train")
    budget.reserve("evaluate", images=100)
    budget.seconds_per_pass = 0.1
    assert window.end == pytest.approx(88.0)
    budget.seconds_per_pass = 0.2
    assert window.end == pytest.approx(76.0)


@given(st.floats(1, 1e4), st.lists(st.floats(0, 100), max_size=30))
def test_fractions_stay_within_0_to_1_and_never_decrease(total, steps):
    budget = Budget(epochs=total, steps=("train",))
    window, before = budget.window("train"), 0.0
    for step in steps:
        budget.charge(epochs=step, flops=1e9)
        assert before <= window.fraction <= 1.0
        assert 0.0 <= window.remaining <= window.length
        before = window.fraction
    assert budget.spent == sum(steps)


def test_counted_budgets_count_only_their_own_unit():
    flops = Budget(flops="2G")
    flops.reserve("evaluate", 100.0, images=5)
    flops.charge(epochs=3, flops=5e8)
    assert (flops.unit, flops.spent, flops.remaining, flops.reserved) == ("flops", 5e8, 1.5e9, 0.0)
    seconds = Budget("10s")
    seconds.charge(epochs=3, flops=5)
    assert seconds.counted == 0.0


def test_the_error_names_the_least_that_works():
    error = Budget("10s").too_small(12.3, why="ten steps would not fit")
    assert isinstance(error, BudgetTooSmall)
    assert error.least == 13.0
    assert str(error) == "--time 10s is too small: ten steps would not fit. The least that works is --time 13s."
    assert "--epochs 1 is too small: no. The least that works is --epochs 2.35." in str(
        Budget(epochs=1).too_small(2.345678, why="no")
    )


@pytest.mark.parametrize(
    ("amount", "quoted"),
    [
        ({"time": "5m"}, "--time 5m"),
        ({"time": Duration("1h 30m")}, "--time 1h30m"),
        ({"time": 300}, "--time 300s"),
        ({"epochs": 2.0}, "--epochs 2"),
        ({"flops": Flops("3P")}, "--flops 3P"),
    ],
)
def test_the_error_quotes_the_budget_as_it_was_given(amount, quoted):
    assert str(Budget(**amount).too_small(1e4, why="no")).startswith(f"{quoted} is too small")


def test_the_error_names_the_reserve_if_most_of_the_budget_is_reserved():
    budget = Budget("10s")
    budget.reserve("evaluate", 0.5, images=5000)
    budget.seconds_per_pass = 0.0005
    assert "evaluation" not in str(budget.too_small(12.3, why="it would not fit"))
    budget.seconds_per_pass = 0.002
    assert str(budget.too_small(30, why="it would not fit")) == (
        "--time 10s is too small: it would not fit, as evaluation on 5,000 images and the end take 12.5 s. "
        "The least that works is --time 30s."
    )
