from __future__ import annotations

import pytest

from shoestring.cli.flags import Parser, add_recipe, collect_settings
from shoestring.config.difficulty import Difficulty
from shoestring.config.layers import CALL, merge, with_current_names
from shoestring.config.recipe import Recipe
from shoestring.config.serialize import as_dict
from shoestring.config.stages import Stages
from shoestring.config.units import Bytes, Duration, Flops, Fractions, Size
from shoestring.errors import UserError

_D2 = {"method": "d2", "examples": 9}
FORMER = {
    "unlabelled": True,
    "train": {"optimiser": "sgd", "averaging": False, "views": "one"},
    "select": {**_D2, "options": {"neighbours": 5}},
}
CURRENT = {
    "unlabeled": True,
    "train": {"optimizer": "sgd", "ema": False, "tta": "none"},
    "select": {**_D2, "options": {"neighbors": 5}},
}


def test_former_names_of_settings_are_read():
    assert merge(("old", FORMER))[0] == merge(("new", CURRENT))[0] != Recipe()
    assert with_current_names(FORMER) == CURRENT
    assert with_current_names(as_dict(Recipe())) == as_dict(Recipe())


def test_former_flags_are_hidden_aliases():
    parser = Parser()
    add_recipe(parser, "train")
    words = ["--optimiser", "sgd", "--no-averaging", "--views", "one"]
    nested = collect_settings(parser, "train", vars(parser.parse_args(words)), ())
    assert merge(("flags", nested))[0].train == merge(("new", CURRENT))[0].train
    assert "--optimizer" in parser.format_help() and "--optimiser" not in parser.format_help()


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("select", "within", Difficulty.parse("easiest:0.2")),
        ("select", "balance", {"cat": 5}),
        ("train", "strength", Fractions("0.5,1")),
        ("grow", "stages", Stages.parse("0.5@0.5,1@1")),
        ("prune", "macs", Size.parse("0.5", what="--macs")),
        ("prune", "params", Size.parse("200k", what="--params")),
        ("", "time", Duration("5m")),
        ("", "time", Duration(1e-5)),
        ("", "flops", Flops("3P")),
        ("", "memory", Bytes("2GB")),
    ],
)
def test_parsed_values_are_accepted(section, name, value):
    recipe = merge((CALL, {section: {name: value}} if section else {name: value}))[0]
    again = getattr(getattr(recipe, section) if section else recipe, name)
    assert again == value and str(again) == str(value)
    assert merge(("saved", as_dict(recipe)))[0] == recipe


def test_former_names_are_those_of_their_section():
    with pytest.raises(UserError, match="unknown"):
        merge(("old", {"optimiser": "sgd"}))
