"""Which images the final network of a run is evaluated on: the test split, the validation split, or a fold."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from shoestring.config.fold import Fold
from shoestring.config.recipe import Prune, Recipe, Select, Train
from shoestring.data import load
from shoestring.errors import UserError
from shoestring.reporting.markdown import headline, summary
from shoestring.runs import pipeline
from shoestring.runs.directory import RunDir
from shoestring.runs.evaluation import evaluate, load_own
from shoestring.runs.inherit import inherited_settings
from shoestring.runs.models import final_model
from shoestring.runs.report_sources import load_sources
from shoestring.runs.validate import check
from shoestring.runtime.context import Context

TRAIN = Train(model="simplecnn", width=0.125, batch_size=8)


@pytest.fixture
def data(tmp_path: Path, make_images) -> str:
    """A file of 90 training and 30 test images."""
    images, test = make_images(90), make_images(30, seed=1)
    arrays = {"images": images.pixels, "labels": images.targets, "test_images": test.pixels}
    np.savez(tmp_path / "data.npz", **arrays, test_labels=test.targets)
    return str(tmp_path / "data.npz")


def predicted(folder: Path) -> set[str]:
    return {row["id"] for row in csv.DictReader((folder / "evaluate" / "predictions.csv").read_text().splitlines())}


def test_evaluation_on_validation_leaves_the_test_split_for_later(data, tmp_path):
    recipe = Recipe(data=data, epochs=2, train=TRAIN, evaluate="validation", report=False)
    folder = RunDir(tmp_path / "run")
    result = pipeline.run(recipe, folder, context=Context())
    images = load(data)
    assert predicted(folder.path) == set(images.validation.ids)
    assert (result["split"], result["accuracy"], result["images"]) == ("validation", result["validation"], 9)
    assert "9 validation images" in headline(result)
    assert next(name for name, _ in summary(result) if "accuracy" in name) == "validation accuracy"
    assert not (folder.path / "report" / "index.html").exists() and (folder.path / "report" / "report.md").exists()
    sources, _ = load_sources(folder, progress=lambda done, total: None)
    assert sources is not None and set(sources.test.ids) == set(images.validation.ids)
    test = load_own(folder.path, "test", skip_bad=False, progress=lambda done, total: None)
    assert set(test.ids) == set(images.test.ids)
    assert evaluate(final_model(folder.path), test, split="test")["images"] == 30


def test_a_fold_is_tested(data, tmp_path):
    recipe = Recipe(data=data, epochs=2, train=TRAIN, fold=Fold(2, 3), report=False)
    result = pipeline.run(recipe, RunDir(tmp_path / "run"), context=Context())
    assert predicted(tmp_path / "run") == set(load(data, fold="2/3").test.ids)
    assert (result["split"], result["images"]) == ("test", 30)


def test_a_fold_is_validated_and_the_test_split_left_alone(data, tmp_path):
    recipe = Recipe(data=data, epochs=2, train=TRAIN, fold=Fold(2, 3), evaluate="validation", report=False)
    folder = RunDir(tmp_path / "run")
    result = pipeline.run(recipe, folder, context=Context())
    assert predicted(folder.path) == set(load(data, fold="2/3", fold_split="validation").validation.ids)
    assert (result["split"], result["images"], result["examples"]) == ("validation", 30, 60)
    test = load_own(folder.path, "test", skip_bad=False, progress=lambda done, total: None)
    assert set(test.ids) == set(load(data).test.ids)
    inherited = inherited_settings(str(folder.path))
    assert (inherited["fold"], inherited["evaluate"]) == ("2/3", "validation")


def test_evaluation_on_validation_needs_images(data, tmp_path):
    recipe = Recipe(data=data, epochs=2, train=TRAIN, evaluate="validation", validation=0)
    with pytest.raises(UserError, match="no validation images to evaluate on"):
        pipeline.run(recipe, RunDir(tmp_path / "run"), context=Context())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fold": Fold(1, 3), "keep": "/here.npy"}, "omit --keep"),
        ({"group": "a", "group_column": "b", "labels": "/here.csv"}, "omit one of them"),
        ({"unlabeled": True, "fold": Fold(1, 3), "select": Select(examples=3)}, "omit --fold"),
        ({"unlabeled": True, "group": "a", "select": Select(examples=3)}, "omit --group"),
    ],
)
def test_what_does_not_go_together_is_refused(settings, message, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "is_file", lambda self: True)
    with pytest.raises(UserError, match=message):
        check(Recipe(**settings, prune=Prune()))
