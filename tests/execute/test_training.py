"""Training as planned: interrupted, and ended after the head where the time is short."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shoestring import execute
from shoestring.budget import Budget
from shoestring.config.plan import FineTune, StepTimes
from shoestring.config.recipe import Recipe, Train
from shoestring.data.images import Dataset
from shoestring.errors import BudgetTooSmall
from shoestring.execute import training
from shoestring.planning.plan import Planner
from shoestring.planning.profiling import Profile, Profiler
from shoestring.planning.resolve import Resolved, resolve
from shoestring.training.checkpoint import Checkpoint
from shoestring.training.loop import REPLAN
from shoestring.training.progress import TrainingSummary


def test_a_training_that_was_interrupted_keeps_its_plan(images, context, tmp_path):
    around, data = replace(context, folder=tmp_path), Dataset.of(images)

    def planned(**settings) -> tuple[Resolved, Budget]:
        budget = Budget(epochs=4, steps=("train",))
        return resolve(Recipe(train=Train(model="simplecnn", **settings)), data, budget, around), budget

    def report(loop) -> None:
        if loop.state.steps > 5:
            raise KeyboardInterrupt

    first, budget = planned(batch_size=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "due", lambda self: True)
        patch.setattr("shoestring.training.loop._Loop._report", report)
        with pytest.raises(KeyboardInterrupt):
            execute.train(images, first, budget=budget)
    again, _ = planned(batch_size=8, learning_rate=1.0)
    assert again.plan.train == first.plan.train


def test_a_head_is_enough_where_the_budget_is_too_small_for_more(images, context, monkeypatch):
    notes: list[str] = []
    recipe, budget = Recipe(train=Train(model="simplecnn")), Budget(epochs=8, steps=("train",))
    resolved = resolve(recipe, Dataset.of(images), budget, replace(context, log=notes.append))
    assert resolved.training is not None
    plan = replace(resolved.training.train, optimizer="adamw", fine_tune=FineTune(probe=True))

    def refuse(*_, **__):
        raise BudgetTooSmall("", least=9)

    monkeypatch.setattr(training, "fit", refuse)
    with pytest.raises(BudgetTooSmall):  # no head was fitted
        execute.train(images, resolved, budget=budget)
    resolved = replace(resolved, training=replace(resolved.training, train=plan))
    model, summary, _ = execute.train(images, resolved, budget=budget)
    assert summary.steps == 0 and execute.accuracy(model, images) > 0.5
    assert notes[-1] == "only the head was trained: the budget does not allow more"


@pytest.mark.parametrize(("ratio", "sizes"), [(1.0, [500]), (6.0, [500, 125])])
def test_slow_steps_bring_a_smaller_batch_size(make_images, context, monkeypatch, ratio, sizes):
    times = StepTimes(train=1e-2, predict=1e-3)
    monkeypatch.setattr(Profiler, "_measure", lambda *_: Profile("float32", times))
    images, budget = make_images(20_000), Budget(3000, steps=("train",))
    recipe = Recipe(train=Train(model="simplecnn", width=0.125))
    resolved = resolve(recipe, Dataset.of(images), budget, context)
    trained = []

    def fit(model, images, window, plan, context, hooks, start=None) -> TrainingSummary:
        trained.append(plan.batch_size)
        again = hooks.replan is not None and hooks.replan(ratio)
        ended = REPLAN if again else "budget"
        return TrainingSummary(9, 1.0, plan.batch_size, "sgd", "float32", "constant", 0.0, ended)

    monkeypatch.setattr(training, "fit", fit)
    execute.train(images, resolved, budget=budget)
    assert trained == sizes


def test_the_head_is_fitted_again_if_the_training_is_planned_again(images, context, monkeypatch):
    budget, recipe = Budget(300, steps=("train",)), Recipe(train=Train(model="simplecnn", optimizer="adamw"))
    monkeypatch.setattr(Profiler, "_measure", lambda *_: Profile("float32", StepTimes(1e-3, 3e-4)))
    resolved = resolve(recipe, Dataset.of(images), budget, context)
    assert resolved.training is not None
    plan = replace(resolved.training.train, fine_tune=FineTune(probe=True))
    planned = replace(resolved.training, train=plan)
    smaller = replace(planned, train=replace(plan, batch_size=8))
    monkeypatch.setattr(Planner, "__call__", lambda *_, **__: smaller)
    fitted = []

    def fit(model, images, window, plan, context, hooks, start=None) -> TrainingSummary:
        fitted.append(execute.accuracy(model, images))
        ended = REPLAN if hooks.replan is not None and hooks.replan(2.0) else "budget"
        return TrainingSummary(9, 1.0, plan.batch_size, "adamw", "float32", "constant", 0.0, ended)

    monkeypatch.setattr(training, "fit", fit)
    _, summary, final = execute.train(images, replace(resolved, training=planned), budget=budget)
    assert (summary.batch_size, final.plan.train.batch_size) == (8, 8)
    assert len(fitted) == 2 and min(fitted) > 0.5
