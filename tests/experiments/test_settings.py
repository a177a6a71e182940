from __future__ import annotations

import pytest

from shoestring.config.fold import Fold
from shoestring.config.layers import merge
from shoestring.config.recipe import Recipe, SweepRecipe
from shoestring.errors import UserError
from shoestring.experiments import settings
from shoestring.experiments.settings import Trial, check_experiment, name_of, trial_recipe, with_time


def experiment(over=None, **settings) -> SweepRecipe:
    sweep = {name: settings.pop(name) for name in ("seeds", "folds", "search", "halving") if name in settings}
    layers = {"data": "digits", **settings, "sweep": sweep | ({"over": over} if over else {})}
    recipe, _ = merge(("file", layers))
    assert isinstance(recipe, SweepRecipe)
    return recipe


def test_the_recipe_of_a_run():
    recipe = experiment({"train.width": ["0.5"], "epochs": ["4"]}, seed=7, train={"model": "convnet"}, time="1m")
    one = trial_recipe(recipe, {"train.width": "0.5", "epochs": "4"}, Trial(0, seed=2))
    assert type(one) is Recipe and (one.train.width, one.train.model) == (0.5, "convnet")
    assert (one.epochs, one.time, one.seed, one.evaluate) == (4, None, 9, "validation")


def test_budgets_of_a_run():
    assert trial_recipe(experiment(seeds=2), {}).epochs == 10
    assert trial_recipe(experiment(seeds=2, epochs=9), {}, part=1 / 3).epochs == 3
    assert trial_recipe(experiment(seeds=2, flops="3e12"), {}, part=0.5).flops == 1.5e12
    timed = trial_recipe(experiment(seeds=2, time="1m"), {})
    assert timed.budget == {} and with_time(timed, 12.349).time == 12.34


def test_seeds_and_folds_are_tested():
    assert trial_recipe(experiment(seeds=2), {}).evaluate is None
    assert trial_recipe(experiment(folds=3), {}, Trial(0, fold=Fold(2, 3))).fold == Fold(2, 3)


def test_default_leaves_a_setting_unset():
    recipe = experiment({"prune.macs": ["default", "0.5"]}, prune={"macs": "0.25"}, select={"examples": 50})
    assert not trial_recipe(recipe, {"prune.macs": "default"}).prune.enabled
    assert trial_recipe(recipe, {"prune.macs": "0.5"}).prune.macs.value == 0.5  # type: ignore[union-attr]


def test_names_are_short_where_they_are_unique():
    assert name_of({"train.width": 0.5, "select.method": "d2"}) == "width=0.5 method=d2"
    assert name_of({"select.method": "d2", "prune.method": "taylor"}) == "select.method=d2 prune.method=taylor"


@pytest.mark.parametrize(
    ("over", "message"),
    [
        (
            {"train.learning_rat": [1]},
            "unknown setting in --over 'train.learning_rat'. Did you mean 'train.learning_rate'",
        ),
        ({"learning_rate": [1]}, "unknown setting in --over 'learning_rate'. Did you mean train.learning_rate?"),
        ({"trian.width": [1, 2]}, "unknown setting in --over 'trian.width'. Did you mean train.width?"),
        ({"train.lr": [1, 2]}, "Did you mean 'train.learning_rate'?"),
        ({"lr": [1, 2]}, "Did you mean train.learning_rate?"),
        ({"epoch": [1, 2]}, "Did you mean epochs?"),
        ({"method": ["d2"]}, "Did you mean select.method or grow.method or prune.method?"),
        ({"nothing.like_it": [1]}, "Write a field of the recipe"),
        ({"train": ["a", "b"]}, "--over train is a section of settings: name one of them, such as train.model."),
        ({"train.width": ["wide"]}, "train.width must be a number, not 'wide'"),
        ({"train.width": [0.5, -1]}, "train.width must be above 0"),
        ({"train.optimizer": ["sgd", "adam"]}, "train.optimizer must be"),
        ({"train.model": ["convnett"]}, "Did you mean 'convnet'"),
        ({"select.method": ["d2"]}, "method=d2: selection settings have no effect without --examples"),
        ({"seed": [1, 2]}, "--seeds"),
        ({"time": ["1m"]}, "all runs together"),
        ({"validation": [0.1]}, "cannot be varied"),
        ({"data": ["digits"]}, "cannot be varied"),
        ({"select": [1]}, "such as select.method"),
        ({"sweep.seeds": [2]}, "is not a setting of one run"),
    ],
)
def test_what_is_varied_is_checked_before_anything_runs(over, message):
    with pytest.raises(UserError) as error:
        check_experiment(experiment(over))
    assert message in str(error.value)


@pytest.mark.parametrize("search", ["random", "tpe"])
@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"select.method": ["random", "randm"], "train.width": "0.5..1"}, "method=randm width=0.5: unknown selection"),
        ({"train.width": ["1", "2"], "select.method": ["d2", "randm"]}, "Did you mean 'random'"),
        ({"select.method": ["random"], "select.colour": [1, 2]}, "has no options, but 'colour' was given"),
    ],
)
def test_methods_and_options_of_a_search_are_checked_before_anything_runs(search, over, message):
    with pytest.raises(UserError) as error:
        check_experiment(experiment(over, search=search, select={"examples": 50}))
    assert message in str(error.value)


def test_values_of_a_large_grid_are_checked_one_by_one(monkeypatch):
    checked: list[Recipe] = []
    monkeypatch.setattr(settings, "check", checked.append)
    axes = {"train.width": list(range(1, 101)), "train.dropout": [i / 100 for i in range(100)]}
    check_experiment(experiment(axes))
    assert len(checked) == 199 and len({(one.train.width, one.train.dropout) for one in checked}) == 199
    assert {one.train.width for one in checked} == set(axes["train.width"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": 2, "epochs": 1, "flops": "1e12"}, "one budget"),
        ({"seeds": 2, "baseline": True}, "--baseline is for one run"),
        ({"folds": 2, "fold": "1/2"}, "omit --fold"),
        ({"over": {"train.width": [1, 2]}, "evaluate": "test"}, "compared on validation images, .* omit --evaluate"),
        ({"folds": 2, "keep": "/nowhere.json"}, "no subset file"),
        ({"over": {"epochs": [1, 2]}, "halving": 2}, "sets the budget"),
        (
            {"over": {"train.width": list(range(1, 200)), "train.dropout": [i / 200 for i in range(100)]}},
            "more than 10,000",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(settings, message):
    with pytest.raises(UserError, match=message):
        check_experiment(experiment(**settings))
