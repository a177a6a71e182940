from __future__ import annotations

import pytest

from shoestring.cli.flags import Parser, add_recipe, collect_settings
from shoestring.config.recipe import Recipe
from shoestring.config.resolve import resolve, with_current_names
from shoestring.config.serialize import as_dict
from shoestring.errors import UserError

FORMER = {"train": {"optimiser": "sgd", "averaging": False, "views": "one"}}
CURRENT = {"train": {"optimizer": "sgd", "ema": False, "tta": "none"}}


def test_former_names_of_settings_are_read():
    assert resolve(("old", FORMER))[0] == resolve(("new", CURRENT))[0] != Recipe()
    assert with_current_names(FORMER) == CURRENT
    assert with_current_names(as_dict(Recipe())) == as_dict(Recipe())


def test_former_flags_are_hidden_aliases():
    parser = Parser()
    add_recipe(parser, "train")
    words = ["--optimiser", "sgd", "--no-averaging", "--views", "one"]
    nested = collect_settings(parser, "train", vars(parser.parse_args(words)), ())
    assert resolve(("flags", nested))[0] == resolve(("new", CURRENT))[0]
    assert "--optimizer" in parser.format_help() and "--optimiser" not in parser.format_help()


def test_former_names_are_those_of_training_only():
    with pytest.raises(UserError, match="unknown"):
        resolve(("old", {"optimiser": "sgd"}))
