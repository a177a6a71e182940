from __future__ import annotations

from dataclasses import replace

import pytest

from shoestring.config.recipe import Recipe, Train
from shoestring.runs import preflight
from shoestring.runs.directory import RunDir
from shoestring.runs.preflight import settle
from shoestring.runs.session import begin

RECIPE = Recipe(time="100s", train=Train(model="convnet", width=0.125, flip=True), device="cpu")

pytestmark = pytest.mark.usefixtures("few_digits")


def _views(tmp_path, context, recipe: Recipe = RECIPE) -> str:
    this = begin(recipe, RunDir(tmp_path), context=context, started=None)
    return settle(this, this.load())[0].recipe.train.views


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.001, "crops"), (0.03, "flip"), (0.06, "one")]
)  # an image; 150 are evaluated
def test_predictions_look_at_more_views_where_these_take_little_of_the_time(
    tmp_path, context, monkeypatch, seconds, expected
):
    monkeypatch.setattr(preflight, "predicting", lambda *args: seconds)
    assert _views(tmp_path, context) == expected


def test_views_are_those_asked_for_or_of_before_or_all_where_time_does_not_count(tmp_path, context, monkeypatch):
    monkeypatch.setattr(preflight, "predicting", lambda *args: 1.0)
    assert _views(tmp_path, context, replace(RECIPE, train=replace(RECIPE.train, views="flip"))) == "flip"
    assert _views(tmp_path, context, replace(RECIPE, time=None, epochs=3)) == "crops"
    RunDir(tmp_path).update(recipe={}, views="crops")
    assert _views(tmp_path, context) == "crops"


def test_a_look_is_timed(images, make_model):
    from shoestring.training.profiling import few_of, predicting

    model = make_model(images)
    assert 0 < predicting(model, few_of(model, images, 8, "cpu"), 0.01) < 1
    assert model.module.training
