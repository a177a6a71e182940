from __future__ import annotations

from dataclasses import replace

import pytest

from shoestring.config.recipe import Recipe, Train
from shoestring.errors import BudgetTooSmall
from shoestring.runs import preflight
from shoestring.runs.directory import RunDir
from shoestring.runs.preflight import check_budget, settle
from shoestring.runs.session import Run, begin
from shoestring.training.profiling import Speed

RECIPE = Recipe(time="10000s", train=Train(model="convnet", width=0.125, flip=True), device="cpu")


@pytest.fixture
def photos(make_images):
    """Three splits of images of 64 x 64 pixels."""
    from shoestring.data import Dataset

    train, validation, test = (make_images(count, side=64, channels=3) for count in (300, 50, 100))
    return Dataset("photos", train, validation, test)


def _begin(tmp_path, context, **changes) -> Run:
    return begin(replace(RECIPE, **changes), RunDir(tmp_path), context=context, started=None)


def _priced(monkeypatch, seconds: float, *, slow: float = 1.0) -> list[tuple[int, ...]]:
    """An image of 64 x 64 pixels takes so many seconds in training, a smaller one fewer; what was timed."""
    asked = []

    def speed(timings, this, images, model, settings, step) -> Speed:
        asked.append(images.shape)
        price = seconds * (images.shape[0] / 64) ** 2
        return Speed("float32", price, price / 3)

    monkeypatch.setattr(preflight, "_least_speed", speed)
    monkeypatch.setattr(preflight, "_SLOW", slow)
    monkeypatch.setattr(preflight, "predicting", lambda *args: 0.0)
    return asked


def test_an_ample_budget_is_not_spent_on_timing(tmp_path, context, photos, monkeypatch):
    asked = _priced(monkeypatch, 1.0, slow=5e9)
    run, data = settle(_begin(tmp_path, context, time="100h"), photos)
    check_budget(run, data.train)
    assert not asked and data is photos


@pytest.mark.parametrize(
    ("seconds", "views", "side"), [(5.0, "crops", 64), (6.7, "flip", 64), (7.0, "one", 64), (15.0, "one", 32)]
)
def test_fewer_views_and_smaller_images_come_before_a_refusal(
    tmp_path, context, photos, monkeypatch, seconds, views, side
):
    _priced(monkeypatch, seconds)
    notes: list[str] = []
    run, data = settle(_begin(tmp_path, replace(context, log=notes.append)), photos)
    assert (run.recipe.train.views, data.train.shape[0], data.test.shape[0]) == (views, side, side)
    assert any("32 x 32 pixels" in note for note in notes) is (side == 32)
    check_budget(run, data.train)


def test_what_cannot_work_is_refused_and_what_was_asked_for_is_kept(tmp_path, context, photos, monkeypatch):
    _priced(monkeypatch, 60.0)
    run, data = settle(_begin(tmp_path, context), photos)
    with pytest.raises(BudgetTooSmall, match="The least that works is"):
        check_budget(run, data.train)
    _priced(monkeypatch, 15.0)
    run, data = settle(_begin(tmp_path, context, resolution=64), photos)
    assert data is photos
    with pytest.raises(BudgetTooSmall):
        check_budget(run, data.train)


def test_a_run_that_goes_on_keeps_its_views_and_its_side(tmp_path, context, photos, monkeypatch):
    asked = _priced(monkeypatch, 1.0)
    RunDir(tmp_path).update(recipe={}, views="flip", side=32)
    run, data = settle(_begin(tmp_path, context), photos)
    assert (run.recipe.train.views, data.train.shape[0]) == ("flip", 32) and not asked


def test_beside_other_work_a_budget_is_refused_only_if_all_threads_could_not_hold_it(images, context, monkeypatch):
    def speed(crowded: bool) -> Speed:
        found = Speed("float32", 4.0, 2.0, crowded=crowded)
        monkeypatch.setattr(preflight, "calibrate", lambda *args, **rest: found)
        this = Run(RECIPE, RunDir("x"), _budget(), replace(context, threads=4))
        from shoestring.planning.model import choose_model

        model = choose_model(images, RECIPE.train, context=context, seconds=None)
        return preflight._least_speed({}, this, images, model, RECIPE.train, "train")

    assert (speed(False).train, speed(False).predict) == (4.0, 2.0)
    assert (speed(True).train, speed(True).predict) == (1.0, 0.5)


def _budget():
    from shoestring.budget import Budget

    return Budget("100s")
