from __future__ import annotations

import json

import pytest

from shoestring import Model
from shoestring.models.heads import head_module

pytestmark = pytest.mark.usefixtures("few_digits")
NET = ("--model", "simplecnn", "--width", "0.25", "--batch-size", "30")


@pytest.mark.parametrize("head", ["mlp:16", "cosine", "prototype", "dual"])
def test_networks_with_any_head_are_trained_pruned_and_evaluated(call, tmp_path, head):
    words = ("run", "digits", *NET, "--head", head, "--epochs", 16, "--macs", 0.5, "--out", tmp_path / "run")
    result = call(*words)
    assert result["accuracy"] > 0.5
    assert result["macs"] <= 0.5 * result["before_pruning"]["macs"]
    assert Model.load(tmp_path / "run").options["head"] == head
    assert json.loads((tmp_path / "run/train/model.json").read_text())["options"]["head"] == head
    assert f"head: {head}" in (tmp_path / "run/recipe.yaml").read_text()
    assert call(*words) == result


def test_a_head_is_fitted_to_the_features_of_a_trained_network(call, tmp_path):
    call("train", "digits", *NET, "--epochs", 6, "--out", tmp_path / "first")
    words = ("--weights", tmp_path / "first", "--head", "prototype", "--tune", "head")
    result = call("train", "digits", *NET, *words, "--epochs", 2, "--out", tmp_path / "second")
    assert result["accuracy"] > 0.5
    first, second = (Model.load(tmp_path / name).module for name in ("first", "second"))
    assert first.conv1.weight.equal(second.conv1.weight)
    assert head_module(second).center.abs().max() > 0


def test_an_unknown_head_is_refused(refused):
    assert "unknown head 'cosin'. Did you mean 'cosine'?" in refused("train", "digits", "--head", "cosin")
    assert "'mlp:x' needs the sizes" in refused("train", "digits", "--head", "mlp:x")
