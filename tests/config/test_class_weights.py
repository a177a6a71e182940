from __future__ import annotations

import pytest

from shoestring.config.class_weights import parse_class_weights
from shoestring.config.layers import merge
from shoestring.config.recipe import Recipe, Train
from shoestring.config.serialize import as_dict
from shoestring.errors import UserError


@pytest.mark.parametrize(
    ("given", "parsed"),
    [
        ("none", None),
        ("auto", "balanced"),
        ("balanced", "balanced"),
        ("cat=2,dog=0.5", {"cat": 2.0, "dog": 0.5}),
        ("a=b=3", {"a=b": 3.0}),
        ({"cat": 2, 7: "1.5"}, {"cat": 2.0, "7": 1.5}),
    ],
)
def test_weights_are_parsed_once_and_saved(given, parsed):
    assert parse_class_weights(given) == parsed
    recipe, _ = merge(("flags", {"train": {"class_weights": given}}))
    assert recipe.train.class_weights == parsed
    assert merge(("saved", as_dict(recipe)))[0] == recipe
    assert Train().class_weights is None and Recipe().train == Train()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("balance", "Did you mean 'balanced'"),
        ("cat=2,dog", "'dog' in --class-weights"),
        ("cat=2,cat=3", "'cat=3' in --class-weights"),
        ("=2", "'=2' in --class-weights"),
        ("cat=0", "'cat' must be a number above 0, not '0'"),
        ("cat=two", "above 0, not 'two'"),
        ("cat=inf", "above 0, not 'inf'"),
        ({"cat": True}, "above 0, not 'True'"),
        ({"cat": [1]}, "above 0"),
    ],
)
def test_other_weights_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        parse_class_weights(given)
