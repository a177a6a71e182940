from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from shoestring.budget import Budget
from shoestring.config.plan import FineTune, StepTimes, TrainPlan
from shoestring.config.recipe import Train
from shoestring.data.augment import Augment
from shoestring.errors import UserError
from shoestring.planning import frozen
from shoestring.planning.frozen import with_views

SETTINGS = Train(model="resnet20", weights="some.safetensors", tune="layer3")
PLAN = TrainPlan(
    10,
    "float32",
    "adamw",
    learning_rate=1e-2,
    weight_decay=0.01,
    augment=asdict(Augment(shift=0.1)),
    fine_tune=FineTune("layer3"),
)


@pytest.fixture
def planned(images, make_model):
    """Plan the views of a training, by default of 60 images for 20 epochs."""
    model = make_model(images, "resnet20", width=0.25)

    def plan(plan=PLAN, settings=SETTINGS, *, epochs=20.0, length=20.0, budget=None):
        return with_views(plan, model, settings, 60, epochs, length, budget or Budget(epochs=20))

    return plan


def test_the_frozen_part_is_run_for_a_few_views(planned):
    assert planned().fine_tune.views == 4
    assert planned().augment == PLAN.augment
    plain = replace(PLAN, augment=asdict(Augment(flip=False)))
    assert planned(plain).fine_tune.views == 1


def test_a_head_is_trained_on_the_images_as_they_are(planned):
    head = replace(PLAN, fine_tune=FineTune("head"))
    plan = planned(head, replace(SETTINGS, tune="head"))
    assert plan.fine_tune.views == 1
    assert plan.augment == asdict(Augment(flip=False))
    shifted = planned(head, replace(SETTINGS, tune="head", shift=0.1))
    assert shifted.fine_tune.views == 4 and shifted.augment == PLAN.augment


def test_each_step_runs_the_whole_network_if_that_is_less_work_or_needs_less_memory(planned, monkeypatch):
    assert planned(epochs=4.0) is PLAN
    assert planned(replace(PLAN, fine_tune=None)).fine_tune is None
    everything = replace(PLAN, fine_tune=FineTune("all"))
    assert planned(everything) is everything
    stronger = replace(PLAN, augment=asdict(Augment(shift=0.1, strength=(0.5, 1.0))))
    assert planned(stronger) is stronger
    growing = replace(PLAN, grow="resolution")
    assert planned(growing) is growing
    assert planned(settings=replace(SETTINGS, frozen_views=0)) is PLAN
    monkeypatch.setattr(frozen, "_MAX_BYTES", 1e4)
    assert planned() is PLAN


def test_views_take_a_quarter_of_the_budget_at_most(planned):
    plan = replace(PLAN, times=StepTimes(train=0.03, predict=0.01))
    time = Budget(time=100)
    assert planned(plan, length=100.0, budget=time).fine_tune.views == 4
    assert planned(plan, length=6.0, budget=time).fine_tune.views == 2
    assert planned(plan, length=2.0, budget=time).fine_tune.views == 0


def test_views_are_requested(planned):
    settings = replace(SETTINGS, frozen_views=7)
    assert planned(settings=settings, epochs=1.0).fine_tune.views == 7
    for plan, message in (
        (replace(PLAN, fine_tune=FineTune("all")), "frozen in part: set --tune"),
        (replace(PLAN, fine_tune=None), "frozen in part: set --tune"),
        (replace(PLAN, grow="resolution"), "that runs alone"),
        (replace(PLAN, fine_tune=FineTune("head", probe=True)), "no effect on a head"),
    ):
        with pytest.raises(UserError, match=message):
            planned(plan, settings)
