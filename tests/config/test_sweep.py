from __future__ import annotations

import pytest

from shoestring.config.fold import Fold, parse_pattern
from shoestring.config.layers import merge
from shoestring.config.recipe import Recipe, SweepRecipe
from shoestring.config.serialize import as_dict
from shoestring.config.sweep import Sweep, axis, parse_over
from shoestring.errors import UserError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("train.learning_rate=0.05,0.1", {"train.learning_rate": ["0.05", "0.1"]}),
        ("train.learning-rate = 0.05 , 0.1", {"train.learning_rate": ["0.05", "0.1"]}),
        ("train.strength=0.5,1;1,1,0", {"train.strength": ["0.5,1", "1,1,0"]}),
        (["a=1", "b=x,y"], {"a": ["1"], "b": ["x", "y"]}),
        ({"a": [1, 2], "b": 3, "c": "0.1..0.3"}, {"a": [1, 2], "b": [3], "c": "0.1..0.3"}),
        ("train.weights=../a.safetensors", {"train.weights": ["../a.safetensors"]}),
        ("a=1e-4..0.1:log", {"a": "1e-4..0.1:log"}),
    ],
)
def test_what_is_varied(given, expected):
    assert parse_over(given) == expected
    assert parse_over(parse_over(given)) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("train.width", "names no values"),
        ("=1", "names no values"),
        ("a=", "empty"),
        ("a=1,,2", "empty"),
        ("a=1,1", "twice"),
        ({"a": [0, 1, 0]}, "value '0' twice"),
        ({"a": [False, False]}, "value 'False' twice"),
        (["a=1", "a=2"], "varies a twice"),
        ("a=3..1", "not a range"),
        ("a=0..1:log", "above 0 if logarithmic"),
        ({"a": [[1], 2]}, "empty"),
    ],
)
def test_what_cannot_be_varied(given, message):
    with pytest.raises(UserError, match=message):
        parse_over(given)


def test_numbers_of_a_range_stay_in_it():
    small, whole = axis("a", "0.12345..0.3"), axis("b", "8..64")
    assert small.is_range and not small.whole and small.number(0.1234501) == 0.1235
    assert small.number(0.2000001) == 0.2 and small.number(0.12345) >= 0.12345
    assert whole.whole and whole.number(9.6) == 10 and whole.examples == (8, 64)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trials": 3, "over": {"a": [1]}}, "grid tries all"),
        ({"over": {"a": "1..2"}}, "add --search random"),
        ({"search": "random"}, "add --over"),
        ({"halving": 3}, "add --over"),
        ({"against": "macs"}, "add --over"),
        ({"halving": 3, "against": "macs", "over": {"a": [1]}}, "omit one"),
        ({"folds": 3, "seeds": 2}, "omit --seeds"),
        ({"jobs": 2}, "there is one"),
    ],
)
def test_settings_that_do_not_go_together(settings, message):
    with pytest.raises(UserError, match=message):
        Sweep(**settings)


def test_an_experiment_is_a_section_of_a_recipe():
    layers = ("file", {"data": "digits", "sweep": {"over": {"train.width": [0.5, 1]}, "seeds": 2}})
    recipe, _ = merge(layers)
    assert isinstance(recipe, SweepRecipe) and recipe.sweep.seeds == 2
    again, _ = merge(("again", as_dict(recipe)))
    assert again == recipe
    assert recipe.single == Recipe(data="digits") and type(recipe.single) is Recipe


@pytest.mark.parametrize("given", ["0/5", "6/5", "1/1", "2", "a/b", "2/5/6"])
def test_what_is_not_a_fold(given):
    with pytest.raises(UserError, match="is not a fold"):
        Fold.parse(given)


def test_a_fold_and_a_pattern_are_text_in_a_recipe():
    recipe, _ = merge(("file", {"fold": "2/5", "group": r"p(\d+)_"}))
    assert recipe.fold == Fold(2, 5) and as_dict(recipe)["fold"] == "2/5" and as_dict(recipe)["group"] == r"p(\d+)_"
    with pytest.raises(UserError, match="not a regular expression"):
        parse_pattern("(")
