from __future__ import annotations

from dataclasses import replace

import pytest

from shoestring.config.plan import StepTimes
from shoestring.config.recipe import Recipe, Train
from shoestring.errors import BudgetTooSmall
from shoestring.planning.profiling import Profile, Profiler
from shoestring.runs import preflight
from shoestring.runs.directory import RunDir
from shoestring.runs.preflight import check_budget, fit_to_budget
from shoestring.runs.session import Run, begin

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
    """An image of 64 x 64 pixels takes so many seconds in training, a smaller one fewer; what was profiled."""
    profiled = []

    def measure(profiler, model, images, settings, size) -> Profile:
        profiled.append(images.shape)
        price = seconds * (images.shape[0] / 64) ** 2
        return Profile("float32", StepTimes(price, price / 3))

    monkeypatch.setattr(Profiler, "_measure", measure)
    monkeypatch.setattr(preflight, "_SLOW", slow)
    monkeypatch.setattr(preflight, "_tta", lambda run, data: "crops")
    return profiled


def test_an_ample_budget_is_not_spent_on_profiling(tmp_path, context, photos, monkeypatch):
    asked = _priced(monkeypatch, 1.0, slow=5e9)
    run, data = fit_to_budget(_begin(tmp_path, context, time="100h"), photos)
    check_budget(run, data.train)
    assert len(asked) == 1 and data is photos  # the network to train, once


@pytest.mark.parametrize(
    ("seconds", "tta", "side"), [(5.0, "crops", 64), (6.7, "flip", 64), (7.0, "none", 64), (15.0, "none", 32)]
)
def test_less_tta_and_smaller_images_come_before_a_refusal(tmp_path, context, photos, monkeypatch, seconds, tta, side):
    _priced(monkeypatch, seconds)
    notes: list[str] = []
    run, data = fit_to_budget(_begin(tmp_path, replace(context, log=notes.append)), photos)
    assert (run.recipe.train.tta, data.train.shape[0], data.test.shape[0]) == (tta, side, side)
    assert any("32 x 32 pixels" in note for note in notes) is (side == 32)
    check_budget(run, data.train)


def test_what_cannot_work_is_refused_and_what_was_asked_for_is_kept(tmp_path, context, photos, monkeypatch):
    _priced(monkeypatch, 60.0)
    run, data = fit_to_budget(_begin(tmp_path, context), photos)
    with pytest.raises(BudgetTooSmall, match="The least that works is"):
        check_budget(run, data.train)
    _priced(monkeypatch, 15.0)
    run, data = fit_to_budget(_begin(tmp_path, context, resolution=64), photos)
    assert data is photos
    with pytest.raises(BudgetTooSmall):
        check_budget(run, data.train)


def test_a_run_that_goes_on_keeps_its_tta_and_its_side(tmp_path, context, photos, monkeypatch):
    asked = _priced(monkeypatch, 1.0)
    RunDir(tmp_path).update(recipe={}, views="flip", side=32)
    run, data = fit_to_budget(_begin(tmp_path, context), photos)
    assert (run.recipe.train.tta, data.train.shape[0]) == ("flip", 32) and not asked


@pytest.mark.parametrize(("crowded", "expected"), [(False, (4.0, 2.0)), (True, (1.0, 0.5))])
def test_beside_other_work_a_budget_is_refused_only_if_all_threads_could_not_hold_it(
    tmp_path, context, crowded, expected
):
    run = _begin(tmp_path, replace(context, threads=4))
    times = preflight._optimistic(run, StepTimes(4.0, 2.0, crowded=crowded))
    assert (times.train, times.predict) == expected
