"""The network of the proxy: any one, for a number of epochs, pretrained, frozen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shoestring.budget import Budget
from shoestring.config.plan import StepTimes
from shoestring.config.recipe import Recipe, Select, Train
from shoestring.data import Dataset
from shoestring.errors import BudgetTooSmall, UserError
from shoestring.planning.profiling import Profile, Profiler
from shoestring.planning.proxy import PROXY, plan_proxy, proxy_settings
from shoestring.planning.request import Request
from shoestring.planning.selection_method import choose_selection

COUNTED = Select(proxy="simplecnn", proxy_epochs=8)


def test_the_default_is_a_small_convnet():
    assert proxy_settings(Select()) == proxy_settings(Select(proxy_weights="none")) == PROXY
    assert proxy_settings(Select(proxy="resnet20")) == Train(model="resnet20")


def test_timm_models_are_pretrained_unless_weights_are_none():
    settings = Select(proxy="timm:resnet18", proxy_tune="head")
    assert proxy_settings(settings) == Train(model="timm:resnet18", weights="pretrained", tune="head")
    scratch = proxy_settings(Select(proxy="timm:resnet18", proxy_weights="none"))
    assert not scratch.starts_from_weights


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"proxy_weights": "pretrained"}, "name it with --proxy"),
        ({"proxy": "resnet20", "proxy_tune": "head"}, "--proxy-tune names blocks of a pretrained network"),
        ({"proxy_tune": "head"}, "--proxy-tune names blocks of a pretrained network"),
    ],
)
def test_settings_without_effect_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        proxy_settings(Select(**settings))


def test_too_few_epochs_for_ten_steps_are_refused(images, context):
    with pytest.raises(UserError, match=r"--proxy-epochs 5 is too few: 10 training steps need --proxy-epochs 5\.33"):
        plan_proxy(images, replace(COUNTED, proxy_epochs=5), Profiler(Budget(epochs=9), context))


def _profiled(monkeypatch, seconds: float) -> None:
    monkeypatch.setattr(
        Profiler, "_measure", lambda *_: Profile("float32", StepTimes(train=seconds, predict=seconds / 3))
    )


def test_the_time_of_its_epochs_is_reserved(images, context, monkeypatch):
    _profiled(monkeypatch, 0.1)
    budget = Budget("1000s", steps=("select", "train"))
    plan = plan_proxy(images, COUNTED, Profiler(budget, context)).plan
    assert budget.reserved == pytest.approx(8 * 60 * 0.1)
    assert plan.times.train == 0.1 and plan.precision == "float32"
    with budget.track("select"):
        pass
    assert budget.reserved == 0


def test_epochs_that_leave_no_time_for_the_training_are_refused(images, context, monkeypatch):
    from shoestring import select
    from shoestring.planning import requirements

    _profiled(monkeypatch, 1.0)
    monkeypatch.setattr(requirements, "_SLOW", 1.0)
    settings = {"method": "margin", "proxy": "simplecnn", "proxy_epochs": 100}
    with pytest.raises(BudgetTooSmall, match="--proxy-epochs 100 leaves too little") as caught:
        select(images, 9, budget=Budget("1000s", steps=("select",)), context=context, **settings)
    assert caught.value.least > 6000


def test_a_requested_proxy_is_used_although_the_network_to_train_is_pretrained(images, context):
    network = Train(model="timm:resnet18", weights="pretrained")
    for settings, features in ((Select("herding", 9), "timm:resnet18"), (replace(COUNTED, method="herding"), None)):
        recipe = Recipe(select=replace(settings, examples=9), train=network)
        profiler = Profiler(Budget(epochs=9), context)
        chosen, _ = choose_selection(Request(recipe, Dataset.of(images), profiler, ("select", "train")))
        assert chosen.features == features
