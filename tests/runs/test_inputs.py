"""Input files of a run besides its images: changes since the run are errors."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from shoestring.config.model_files import model_folder
from shoestring.config.recipe import Recipe, Select, Train
from shoestring.errors import UserError
from shoestring.runs import pipeline
from shoestring.runs.directory import RunDir
from shoestring.runs.inputs import file_states

RECIPE = Recipe(epochs=4, train=Train(model="simplecnn", width=0.25, batch_size=16), device="cpu")

pytestmark = pytest.mark.usefixtures("few_digits")


@pytest.fixture
def listed(tmp_path):
    """A list of row numbers, as --subset accepts it."""
    file = tmp_path / "rows.json"
    file.write_text(str(list(range(60))))
    return file


def test_changed_subset_of_a_finished_run_is_refused(context, tmp_path, listed):
    recipe, folder = replace(RECIPE, select=Select(subset=str(listed))), RunDir(tmp_path / "run")
    first = pipeline.run(recipe, folder, context=context)
    assert pipeline.run(recipe, folder, context=context) == first
    listed.write_text(str(list(range(70))))
    with pytest.raises(UserError, match=r"rows.json has changed since"):
        pipeline.run(recipe, folder, context=context)


def test_removed_file_is_ignored_by_a_finished_run(context, tmp_path, listed):
    recipe, folder = replace(RECIPE, select=Select(subset=str(listed))), RunDir(tmp_path / "run")
    pipeline.run(recipe, folder, context=context)
    moved = listed.rename(tmp_path / "moved.json")
    assert str(moved) not in file_states(recipe)
    assert file_states(recipe) == {}


def test_states_of_weights_and_features_are_recorded(tmp_path):
    weights, features = tmp_path / "w.safetensors", tmp_path / "f.npy"
    weights.write_bytes(b"weights")
    np.save(features, np.zeros((3, 2)))
    recipe = replace(RECIPE, train=Train(weights=str(weights)), select=Select(features=str(features), examples=2))
    before = file_states(recipe)
    assert sorted(before) == [str(features), str(weights)]
    os.utime(weights, ns=(1, 1))
    assert file_states(recipe)[str(weights)] == [7, 1]
    network = replace(recipe, select=Select(features=f"timm:resnet18@{weights}", examples=2))
    assert list(file_states(network)) == [str(weights)]


def test_finished_run_without_its_model_is_an_error(context, tmp_path):
    folder = RunDir(tmp_path / "run")
    pipeline.run(RECIPE, folder, context=context)
    saved = model_folder(folder.path)
    assert saved is not None
    for file in saved.glob("model.*"):
        file.unlink()
    with pytest.raises(UserError, match="its model is missing"):
        pipeline.run(RECIPE, folder, context=context)


def test_finished_run_with_former_setting_names_is_done(context, tmp_path):
    folder = RunDir(tmp_path / "run")
    recipe = replace(RECIPE, train=replace(RECIPE.train, tta="none", optimizer="sgd"))
    first = pipeline.run(recipe, folder, context=context)
    content = json.loads((folder / "run.json").read_text())
    train = content["recipe"]["train"]
    train["optimiser"], train["views"] = train.pop("optimizer"), {"none": "one"}[train.pop("tta")]
    train["averaging"] = train.pop("ema")
    (folder / "run.json").write_text(json.dumps(content))
    assert pipeline.run(recipe, folder, context=context) == first
