from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from shoestring.config.layers import merge
from shoestring.config.recipe import Recipe, Select
from shoestring.config.recipe_file import read
from shoestring.config.serialize import as_dict, digest, to_yaml
from shoestring.errors import UserError

FILE = {"time": "5m", "seed": 3, "select": {"method": "diversity", "examples": "1_000", "swaps": 7}}
FLAGS = {"seed": "4", "select": {"examples": 50}, "train": {"learning_rate": "1e-3"}}


def test_flags_override_the_file_and_the_file_overrides_defaults():
    recipe, origin = merge(("recipe.yaml", FILE), ("flags", FLAGS))
    assert (recipe.seed, recipe.time, str(recipe.time), recipe.data) == (4, 300, "5m", "digits")
    assert recipe.select == Select("diversity", 50, options={"swaps": 7})
    assert recipe.train.learning_rate == 0.001
    assert origin["seed"] == origin["select.examples"] == origin["train.learning_rate"] == "flags"
    assert origin["time"] == origin["select.method"] == origin["select.swaps"] == "recipe.yaml"
    assert origin["data"] == origin["train.model"] == origin["select.balance"] == "default"


def test_without_layers_all_values_are_defaults():
    recipe, origin = merge()
    assert recipe == Recipe()
    assert set(origin.values()) == {"default"}


def test_none_in_a_later_layer_unsets_a_value():
    recipe, origin = merge(("file", {"time": "5m"}), ("flags", {"time": None}))
    assert recipe.time is None
    assert origin["time"] == "flags"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"sede": 1}, "unknown setting in file 'sede'. Did you mean 'seed'?"),
        ({"train": {"modle": "x"}}, "unknown setting in file 'train.modle'. Did you mean 'train.model'?"),
        ({"select": "random"}, "'select' in file must be a mapping"),
        ({"select": {"examples": "ten"}}, "select.examples must be an integer"),
        ({"train": {"optimiser": "adamww"}}, "Did you mean 'adamw'?"),
        ({"seed": None}, "seed must be an integer"),
    ],
)
def test_errors_are_one_line(content, message):
    with pytest.raises(UserError) as caught:
        merge(("file", content))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@example(seed=0, time=None, skip_bad=False, epochs=None, options={"swaps": "\x85"}, examples=None)
@given(
    seed=st.integers(0, 2**31),
    time=st.none() | st.sampled_from(["90", "5m"]),
    skip_bad=st.booleans(),
    epochs=st.none() | st.floats(0.1, 1e6),
    options=st.dictionaries(st.sampled_from(["swaps", "order"]), st.integers() | st.text(max_size=5)),
    examples=st.none() | st.integers(1, 10**6),
)
def test_a_written_recipe_is_read_back_unchanged(seed, time, skip_bad, epochs, options, examples):
    recipe = Recipe(
        time=time, seed=seed, skip_bad=skip_bad, epochs=epochs, select=Select("x", examples, options=options)
    )
    assert merge(("x", as_dict(recipe)))[0] == recipe
    assert merge(("x", yaml.safe_load(to_yaml(recipe))))[0] == recipe


def test_recipes_are_read_from_yaml_and_json(tmp_path):
    recipe, _ = merge(("x", FILE))
    for name, text in [("a.yaml", to_yaml(recipe)), ("b.json", '{"time": "5m"}')]:
        (tmp_path / name).write_text(text)
    assert merge(("a", read(tmp_path / "a.yaml")))[0] == recipe
    assert read(tmp_path / "b.json") == {"time": "5m"}


@pytest.mark.parametrize(("text", "message"), [("a: [", "neither YAML nor JSON"), ("- 1", "must be a mapping")])
def test_errors_in_files_are_one_line(tmp_path, text, message):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path / "r.yaml")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read recipe .*none\.yaml"):
        read(tmp_path / "none.yaml")


def test_the_digest_is_stable_and_differs_between_recipes():
    recipe = Recipe()
    assert digest(recipe) == digest(Recipe())
    assert digest(recipe) != digest(replace(recipe, seed=1))
    assert len(digest(recipe)) == 8
    first, second = ({"select": {"method": "m", **pair}} for pair in ({"a": 1, "b": 2}, {"b": 2, "a": 1}))
    assert digest(merge(("x", first))[0]) == digest(merge(("x", second))[0])
