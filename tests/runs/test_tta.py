from __future__ import annotations

from dataclasses import replace

import pytest

from shoestring.config.plan import StepTimes
from shoestring.config.recipe import Recipe, Train
from shoestring.planning.profiling import Profile, Profiler
from shoestring.runs.directory import RunDir
from shoestring.runs.plan import make_plan
from shoestring.runs.session import begin

RECIPE = Recipe(time="100s", train=Train(model="convnet", width=0.125, flip=True), device="cpu")

pytestmark = pytest.mark.usefixtures("few_digits")


def _tta(tmp_path, context, recipe: Recipe = RECIPE) -> str:
    run = begin(recipe, RunDir(tmp_path), context=context, started=None)
    return make_plan(run, run.load()).plan.tta


def _prediction_takes(monkeypatch, seconds: float) -> None:
    profile = Profile("float32", StepTimes(1e-6, seconds))
    monkeypatch.setattr(Profiler, "_measure", lambda *args: profile)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.001, "crops"), (0.03, "flip"), (0.06, "none")]
)  # seconds per image; 150 are evaluated
def test_tta_is_used_where_it_takes_little_time(tmp_path, context, monkeypatch, seconds, expected):
    _prediction_takes(monkeypatch, seconds)
    assert _tta(tmp_path, context) == expected


def test_tta_is_as_requested_as_before_or_full_without_a_time_budget(tmp_path, context, monkeypatch):
    _prediction_takes(monkeypatch, 1.0)
    assert _tta(tmp_path, context, replace(RECIPE, train=replace(RECIPE.train, tta="flip"))) == "flip"
    assert _tta(tmp_path, context, replace(RECIPE, time=None, epochs=3)) == "crops"
    RunDir(tmp_path).update(recipe={}, views="crops")
    assert _tta(tmp_path, context) == "crops"
