"""Runs that also train on images without labels."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from shoestring.config.recipe import Recipe, Select, Train
from shoestring.errors import UserError
from shoestring.reporting.unlabeled import unlabeled_rows
from shoestring.runs import pipeline
from shoestring.runs.directory import RunDir
from shoestring.runs.validate import check

TRAIN = Train(model="simplecnn", width=0.25, use_unlabeled=True)


def _run(tmp_path, context, name="run", **recipe):
    recipe = {"train": TRAIN, "select": Select("random", 60), "epochs": 30, **recipe}
    folder = RunDir(tmp_path / name)
    return pipeline.run(Recipe(data="digits", **recipe), folder, context=context), folder


def test_unselected_images_are_labeled_by_the_network(few_digits, tmp_path, context):
    result, folder = _run(tmp_path, context)
    use = result["unlabeled"]
    assert use["images"] == use["predicted"] == 240 and use["accuracy"] is not None
    assert folder.run["unlabeled"] == use and folder.run["plan"]["unlabeled"]["first"] == 0.4
    assert not (folder / "train" / "labeled").exists()
    assert "images without labels" in (folder / "report" / "report.md").read_text()
    assert _run(tmp_path, context)[0] == result  # finished


def test_more_images_have_any_size_and_no_labels(few_digits, tmp_path, context):
    rng = np.random.default_rng(0)
    (tmp_path / "more").mkdir()
    for index in range(4):
        Image.fromarray(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(tmp_path / "more" / f"{index}.png")
    result, _ = _run(tmp_path, context, unlabeled_images=str(tmp_path / "more"))
    assert result["unlabeled"]["images"] == 244 and result["unlabeled"]["accuracy"] is None
    result, _ = _run(tmp_path, context, "all", unlabeled_images=str(tmp_path / "more"), select=Select())
    assert result["unlabeled"]["images"] == 4
    with pytest.raises(UserError, match="nowhere"):
        _run(tmp_path, context, "other", unlabeled_images=str(tmp_path / "nowhere"))


def test_all_images_are_selected(few_digits, tmp_path, context):
    result, _ = _run(tmp_path, context, select=Select("random", 300, balance="none"), epochs=2)
    assert result["unlabeled"] is None
    assert ("images without labels", "none, as all were selected") in unlabeled_rows(result)


def test_settings_that_have_no_images_are_refused():
    for recipe, message in (
        (Recipe(train=TRAIN), "--use-unlabeled trains on images that are not selected"),
        (Recipe(train=Train(unlabeled_confidence=0.9)), "--unlabeled-confidence has no effect"),
        (Recipe(unlabeled_images="photos"), "--unlabeled-images has no effect"),
    ):
        with pytest.raises(UserError, match=message):
            check(recipe)


def _use(**values):
    use = {"images": 9, "predicted": 8, "used": 5, "confidence": 0.9, "accuracy": 0.8, "before": 0.7, "after": 0.75}
    return dict(unlabeled_rows({"unlabeled": {**use, "kept": True, **values}}))


def test_the_report_says_what_they_were_good_for():
    assert unlabeled_rows({}) == []
    rows = _use()
    assert rows["images without labels"].startswith("5 of 8 predicted ones with a probability of 0.90 or more, 80")
    assert rows["their effect"].startswith("validation accuracy 70") and " 75" in rows["their effect"]
    assert _use(kept=False, after=0.6)["their effect"].startswith("not used, as it made the network worse")
    assert _use(kept=False, after=None)["their effect"] == "not used, for lack of time"
    assert _use(before=None, after=None)["their effect"] == "kept"
    assert "no prediction" in _use(used=0, kept=False, accuracy=None)["their effect"]
    assert _use(predicted=0) == {"images without labels": "none of 9 used, for lack of time"}
