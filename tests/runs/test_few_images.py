"""Runs with one image per class or little more: no test images, no validation images, or none of one class."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from shoestring.config.recipe import Prune, Recipe, Select, Train
from shoestring.errors import UserError
from shoestring.runs import pipeline
from shoestring.runs.directory import RunDir
from shoestring.runs.evaluation import evaluate, load_own
from shoestring.runs.models import final_model


@pytest.fixture
def few(tmp_path):
    """Make a folder with so many dark and bright images."""

    def make(dark: int, bright: int) -> str:
        rng = np.random.default_rng(0)
        for name, count, level in (("dark", dark, 0), ("bright", bright, 150)):
            (tmp_path / "few" / name).mkdir(parents=True)
            for index in range(count):
                pixels = level + rng.integers(0, 80, (16, 16, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "few" / name / f"{index}.png")
        return str(tmp_path / "few")

    return make


def _run(data: str, folder, context, **more) -> dict:
    train = Train(model="simplecnn", width=0.25, class_weights="balanced")
    return pipeline.run(Recipe(data=data, epochs=60, train=train, **more), folder, context=context)


def test_one_image_per_class(few, tmp_path, context):
    folder = RunDir(tmp_path / "run")
    result = _run(few(1, 1), folder, context, prune=Prune(macs="0.6"))
    assert result["examples"] == 2 and result["images"] == result["validation_images"] == 0
    assert result["accuracy"] is result["validation"] is result["before_pruning"]["validation"] is None
    assert result["temperature"] == 1.0
    assert result["warnings"] == ["there are no test images, so the accuracy was not measured"]
    assert "NaN" not in json.dumps(folder.run)
    assert "not measured" in (folder / "report" / "report.md").read_text()
    assert not (folder / "evaluate").exists()
    images = load_own(folder.path, "test", skip_bad=False, progress=lambda *_: None)
    with pytest.raises(UserError, match="the test split has no images"):
        evaluate(final_model(folder.path), images, split="test")


@pytest.mark.parametrize(
    ("counts", "sizes"), [((2, 2), (2, 0, 2)), ((3, 3), (2, 2, 2)), ((1, 8), (6, 1, 2))], ids=["two", "three", "uneven"]
)
def test_two_or_three_images_per_class(few, tmp_path, context, counts, sizes):
    result = _run(few(*counts), RunDir(tmp_path / "run"), context)
    assert (result["examples"], result["validation_images"], result["images"]) == sizes
    assert 0 <= result["accuracy"] <= 1 and 0 <= result["balanced_accuracy"] <= 1 and 0 <= result["macro_f1"] <= 1
    metrics = json.loads((tmp_path / "run" / "evaluate" / "metrics.json").read_text())
    assert metrics["macro_f1"] == result["macro_f1"]


def test_one_of_each_class_is_selected_and_no_image_held_out_for_validation(few, tmp_path, context):
    folder = RunDir(tmp_path / "run")
    select = Select("margin", 2, proxy="simplecnn", proxy_epochs=12)
    result = _run(few(5, 5), folder, context, select=select, validation=0.0)
    assert (result["examples"], result["validation_images"], result["images"]) == (2, 0, 2)
    assert result["validation"] is None and result["temperature"] == 1.0
    assert folder.run["plan"]["proxy"]["batch_size"] == 8
