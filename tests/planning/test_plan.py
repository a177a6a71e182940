from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest
import torch

from shoestring.budget import Budget
from shoestring.config.plan import Plan, StepTimes, TrainPlan, run_plan, to_dict, train_plan
from shoestring.config.recipe import Grow, Prune, Recipe, Select, Train
from shoestring.config.units import Size
from shoestring.data.images import Dataset
from shoestring.errors import UserError
from shoestring.planning import model
from shoestring.planning.model import preprocessing
from shoestring.planning.plan import Planner, allotment_of
from shoestring.planning.profiling import Profile, Profiler
from shoestring.planning.resolve import resolve
from shoestring.reporting.answers import answers


@pytest.fixture
def profiled(monkeypatch):
    """Profiles as on an idle machine; the networks that were profiled."""
    found = []

    def measure(profiler, model, images, settings, size) -> Profile:
        found.append((model.name, str(model.options)))
        return Profile("float32", StepTimes(1e-3, 3e-4, 1e-4))

    monkeypatch.setattr(Profiler, "_measure", measure)
    return found


@pytest.fixture
def plan(images, context, tmp_path):
    """Makes a plan of 600 s on 20,000 images; and what plans it, and the notes."""
    notes: list[str] = []

    def make(settings: Train | None = None, seconds: float = 600, count: int = 20_000):
        around, budget = replace(context, folder=tmp_path, log=notes.append), Budget(seconds, steps=("train",))
        planner = Planner(settings or Train(), Grow(), Profiler(budget, around))
        allotment = allotment_of(budget, "train", count=count)
        return planner(images, allotment), partial(planner, images, allotment), notes

    return make


def test_each_network_is_profiled_once(plan, profiled):
    first, again, _ = plan()
    assert len(profiled) == len(set(profiled)) == 2  # one to choose the width by, and the one that is trained
    assert again().train == first.train
    assert len(profiled) == 2


@pytest.mark.parametrize(
    ("budget", "count"),
    [
        # the narrowest network, that by which the width is chosen, which is also the proxy, and the one to train
        ({"time": 600}, 3),
        ({"epochs": 90}, 1),
    ],
)
@pytest.mark.usefixtures("profiled")
def test_each_network_is_built_once_while_planning(images, context, monkeypatch, budget, count):
    widths, build = [], model.build

    def record(*args, **more):
        widths.append(more["options"]["width"])
        return build(*args, **more)

    monkeypatch.setattr(model, "build", record)
    size = Size.parse("0.5", what="--macs")
    recipe = Recipe(select=Select("margin", 30), train=Train(weights="none"), prune=Prune(macs=size))
    resolved = resolve(recipe, Dataset.of(images), Budget(**budget, steps=("select", "train", "prune")), context)
    assert None not in (resolved.proxy, resolved.training, resolved.recovery)
    assert len(widths) == len(set(widths)) == count


def test_a_planned_network_is_built_anew_to_train_it(images, context):
    recipe, budget = Recipe(train=Train(model="convnet")), Budget(epochs=90, steps=("train",))
    resolved = resolve(recipe, Dataset.of(images), budget, context)
    measured, one, other = (
        resolved.training,
        *(resolved.training.built_for(images, resolved.planner).model for _ in range(2)),
    )
    assert len({id(model.module) for model in (measured.model, one, other)}) == 3
    assert all(map(torch.equal, one.module.state_dict().values(), other.module.state_dict().values()))
    assert one.preprocessing.mean == preprocessing(images).mean


def test_steps_that_take_twice_the_planned_time_bring_a_narrower_network(plan, profiled):
    first, again, _ = plan()
    assert again(slowdown=2.0).network.options["width"] < first.network.options["width"]
    assert again(slowdown=1.0).network == first.network


def test_growth_is_planned_again_too(plan, profiled):
    settings = Train(model="resnet20", width=0.25, optimizer="sgd")
    first, again, _ = plan(settings, seconds=3 * 20_000 * 1e-3)  # each image would be seen three times
    assert first.train.grow == "constant"
    assert again(slowdown=2.0).train.grow == "resolution,width,depth"


def test_counted_budgets_are_planned_without_profiles(images, context, profiled):
    budget = Budget(epochs=3, steps=("train",))
    planner = Planner(Train(), Grow(), Profiler(budget, context))
    planned = planner(images, allotment_of(budget, "train", count=60))
    assert not profiled
    assert (planned.network.name, planned.network.options) == ("convnet", {"width": 0.5})
    assert (planned.train.precision, planned.train.times) == ("float32", StepTimes())
    assert planned.train.optimizer == "muon" and planned.train.augment["shift"] == 0.125


def test_a_step_leaves_room_for_those_that_wait():
    budget = Budget(epochs=100, steps=("select", "train", "prune"))
    early = allotment_of(budget, "train", count=10, pending=("select",))
    assert early.length == pytest.approx(30.0)
    assert allotment_of(budget, "train", count=10).length == pytest.approx(40.0)
    assert allotment_of(budget, "select", count=10).length == pytest.approx(25.0)
    assert early.lr_range == (0.0, pytest.approx(0.4)) and allotment_of(budget, "prune", count=1).lr_range[1] == 1.0


@pytest.mark.parametrize(("macs", "worth"), [(None, 1.0), ("20M", 1.0), ("1.0", 1.0), ("0.25", 0.4 + 0.6 / 0.25**0.65)])
def test_a_network_that_will_be_pruned_is_chosen_for_the_time_that_this_saves(macs, worth):
    later, steps = Prune(macs=macs), ("train", "prune")
    allotment = allotment_of(Budget(100, steps=steps), "train", count=9, later=later)
    assert allotment.unpruned_seconds == pytest.approx(100 * worth, rel=0.02)
    assert allotment_of(Budget(epochs=10, steps=steps), "train", count=9, later=later).unpruned_seconds is None


def test_plans_are_plain_data():
    train = TrainPlan(32, "float32", "sgd", 0.1, 5e-4, lr_range=(0.0, 0.4), augment={"strength": (1.0,)})
    plan = Plan(32, "crops", select="d2", model="convnet", options={"width": 0.5}, train=train)
    assert run_plan(to_dict(plan)) == plan
    assert train_plan(to_dict(train)) == train
    with pytest.raises(UserError, match="corrupted"):
        train_plan({})
    with pytest.raises(UserError, match="corrupted"):
        run_plan({"resolution": 8})


def test_a_resumed_run_follows_its_stored_plan(images, context):
    recipe = Recipe(
        select=Select("margin", 30), train=Train(model="simplecnn"), prune=Prune(macs=Size.parse("0.5", what="--macs"))
    )
    budget = Budget(epochs=90, steps=recipe.steps)
    first = resolve(recipe, Dataset.of(images), budget, context)
    stored = run_plan(json.loads(json.dumps(to_dict(first.plan))))
    assert None not in (stored.proxy, stored.train, stored.recovery)
    other = replace(recipe, select=Select("auto", 30), train=Train(model="convnet", batch_size=8))
    again = resolve(other, Dataset.of(images), budget, context, stored=stored)
    assert json.dumps(to_dict(again.plan)) == json.dumps(to_dict(first.plan))


@pytest.mark.usefixtures("profiled")
def test_plans_explain_the_proxy_and_the_recovery(images, context):
    size = Size.parse("0.25", what="--macs")
    recipe = Recipe(select=Select("forgetting", 30), train=Train(model="simplecnn"), prune=Prune(macs=size))
    plan = resolve(recipe, Dataset.of(images), Budget(600, steps=recipe.steps), context).plan
    shown = {name: (value, reason) for name, value, reason in answers(to_dict(plan))}
    assert shown["proxy"][1] == "forgetting needs a network trained on all images: convnet"
    assert shown["proxy"][0].startswith("muon, peak learning rate")
    assert shown["recovery"][0].startswith("muon, peak learning rate 0.188") and "pruned" in shown["recovery"][1]


@pytest.mark.usefixtures("profiled")
def test_recovery_is_planned_for_its_part_of_the_budget_and_a_smaller_network(images, context):
    recipe = Recipe(train=Train(model="simplecnn"), prune=Prune(macs=Size.parse("0.25", what="--macs")))
    plan = resolve(recipe, Dataset.of(images), Budget(600, steps=recipe.steps), context).plan
    assert plan.train is not None and plan.recovery is not None
    assert plan.recovery.times.train == pytest.approx(plan.train.times.train * 0.25**0.65)
    assert plan.train.lr_range == (0.0, pytest.approx(0.4)) and plan.recovery.lr_range == (pytest.approx(0.4), 1.0)
    assert (plan.recovery.optimizer, plan.recovery.precision) == (plan.train.optimizer, plan.train.precision)
