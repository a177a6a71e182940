from __future__ import annotations

import time

import pytest
from torch import nn

from shoestring.budget import Budget
from shoestring.training.early_stopping import EarlyStopping, Score


def test_early_stopping_counts_scores_without_improvement():
    module = nn.Linear(1, 1, bias=False)
    stopping = EarlyStopping(2, every=0.1)
    assert not stopping.due(0.05)
    for fraction, score, stop in [(0.1, 1.0, False), (0.21, 0.5, False), (0.32, 2.0, False), (0.43, 2.0, False)]:
        assert stopping.due(fraction)
        module.weight.data.fill_(score)
        assert stopping.update(score, module, fraction) is stop
        assert not stopping.due(fraction + 0.05)
    assert stopping.update(1.0, module, 0.54)
    assert stopping.restore_best(module)
    assert module.weight.item() == 2.0


@pytest.mark.parametrize(
    ("prediction", "seconds", "due", "scored"),
    [(0.01, 1.0, [6, 96], [6, 96]), (0.2, 1.0, [6], [6]), (0.2, 1.0, [90], []), (0.01, 6.0, [6, 48, 96], [6, 48])],
)
def test_scoring_only_if_it_fits_into_the_remaining_time(
    monkeypatch, images, make_model, prediction, seconds, due, scored
):
    """Of 100 seconds; the first score is expected to take 100 predictions, later ones as long as the slowest so far."""
    clock, model, taken = [0.0], make_model(images), []
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    window = Budget(100, steps=("train",)).window("train")
    window.budget.seconds_per_pass = prediction

    def measure(_) -> float:
        taken.append(clock[0])
        clock[0] += seconds
        return 0.0

    stopping = EarlyStopping(9, Score(measure, passes=100))
    for second in due:
        clock[0] = float(second)
        stopping.should_stop(model, window)
        assert clock[0] <= 100
    assert taken == scored


def test_counted_budgets_skip_no_score(images, make_model):
    window = Budget(epochs=1, steps=("train",)).window("train")
    window.budget.seconds_per_pass = 1e9
    window.budget.charge(epochs=0.99)
    assert EarlyStopping(1, Score(lambda model: float("-inf"), passes=1e9)).should_stop(make_model(images), window)


def test_no_early_stopping_without_a_limit():
    stopping = EarlyStopping(None)
    assert not stopping.due(1.0)
    assert not stopping.restore_best(nn.Linear(1, 1))


def test_the_end_is_known_only_by_a_late_score():
    """Where scores stopped fitting into the time at half of it, the best of them says nothing about the end."""
    stopping, module = EarlyStopping(9, every=0.05), nn.Linear(1, 1)
    stopping.update(1.0, module, 0.5)
    assert not stopping.is_current(1.0)
    stopping.update(0.9, module, 0.93)
    assert stopping.is_current(1.0)
