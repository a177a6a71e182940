from __future__ import annotations

from dataclasses import replace

import pytest

from shoestring.budget import Budget
from shoestring.config.recipe import Grow, Train
from shoestring.planning import growth, model
from shoestring.planning.plan import FirstPlan
from shoestring.training.checkpoint import Checkpoint
from shoestring.training.profiling import Speed


@pytest.fixture
def first(images, context, monkeypatch, tmp_path):
    """Makes the first plan of 600 s on 20,000 images, steps timed once as on an idle machine."""
    timed = []

    def speed(*_, **__) -> Speed:
        timed.append(1)
        assert len(timed) == 1, "a plan made anew goes by the same timings"
        return Speed("float32", 1e-3, 1e-4)

    monkeypatch.setattr(model, "calibrate", speed)
    monkeypatch.setattr(model, "fitting_width", _of_many(model.fitting_width))
    notes: list[str] = []

    def make(**changes) -> tuple[FirstPlan, list[str]]:
        around = replace(context, folder=tmp_path, log=notes.append, **changes)
        window = Budget("600s", steps=("train",)).window("train")
        return FirstPlan(images, Train(), Grow(), window, around, None), notes

    return make


def _of_many(fitting_width):
    return lambda sample, count, **rest: fitting_width(sample, 20_000, **rest)


def test_steps_that_take_twice_the_planned_time_bring_a_narrower_network(first):
    plan, notes = first()
    before = plan.model.options["width"]
    assert plan.anew(2.0)
    assert plan.model.options["width"] < before
    assert "2.0 times the planned seconds" in notes[-1]


def test_a_plan_that_comes_out_the_same_stays(first):
    plan, notes = first()
    model = plan.model
    assert not plan.anew(1.0)
    assert plan.model is model and not any("anew" in note for note in notes)


def test_a_training_that_was_interrupted_keeps_its_plan(first, tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoint, "begun", lambda self: ("convnet", {"width": 0.25}, "constant"))
    (tmp_path / "state.pt").touch()
    plan, _ = first()
    assert plan.model.options["width"] == 0.25
    assert not plan.anew(5.0) and (tmp_path / "state.pt").exists()


def test_growth_is_planned_anew_too(images, context, monkeypatch, make_model):
    monkeypatch.setattr(growth, "calibrate", lambda *_, **__: Speed("float32", 1.0, 1.0))
    window = Budget(time=3 * len(images), steps=("train",)).window("train")  # each image would be seen three times
    plan = FirstPlan(images, Train(model="resnet20", width=0.25, optimiser="sgd"), Grow(), window, context, None)
    assert plan.schedule.text == "constant"
    assert plan.anew(2.0) and plan.schedule.text != "constant"
