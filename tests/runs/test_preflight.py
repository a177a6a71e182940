from __future__ import annotations

from dataclasses import replace

import pytest

from shoestring.config.plan import StepTimes
from shoestring.config.recipe import Recipe, Train
from shoestring.errors import BudgetTooSmall
from shoestring.planning import requirements
from shoestring.planning.profiling import Profile, Profiler
from shoestring.runs import preflight
from shoestring.runs.directory import RunDir
from shoestring.runs.preflight import check_budget, fit_to_budget
from shoestring.runs.session import Run, begin

RECIPE = Recipe(time="10000s", train=Train(model="convnet", width=0.125, flip=True), device="cpu")


@pytest.fixture
def photos(make_images):
    """Three splits of 64 x 64 images."""
    from shoestring.data import Dataset

    train, validation, test = (make_images(count, side=64, channels=3) for count in (300, 50, 100))
    return Dataset("photos", train, validation, test)


def _begin(tmp_path, context, **changes) -> Run:
    return begin(replace(RECIPE, **changes), RunDir(tmp_path), context=context, started=None)


def _profiled(monkeypatch, seconds: float, *, slow: float = 1.0) -> list[tuple[int, ...]]:
    """Fake profiling: a 64 x 64 image trains in `seconds`, a smaller one in less; return the profiled shapes."""
    profiled = []

    def measure(profiler, model, images, settings, size) -> Profile:
        profiled.append(images.shape)
        cost = seconds * (images.shape[0] / 64) ** 2
        return Profile("float32", StepTimes(cost, cost / 3))

    monkeypatch.setattr(Profiler, "_measure", measure)
    monkeypatch.setattr(requirements, "_SLOW", slow)
    monkeypatch.setattr(preflight, "_tta", lambda run, data: ("crops", "as measured"))
    return profiled


def test_ample_budget_is_not_spent_on_profiling(tmp_path, context, photos, monkeypatch):
    profiled = _profiled(monkeypatch, 1.0, slow=5e9)
    run, data = fit_to_budget(_begin(tmp_path, context, time="100h"), photos)
    check_budget(run, data.train)
    assert len(profiled) == 1 and data is photos  # the network to train, once


@pytest.mark.parametrize(
    ("seconds", "tta", "side"), [(5.0, "crops", 64), (6.7, "flip", 64), (7.0, "none", 64), (15.0, "none", 32)]
)
def test_less_tta_and_smaller_images_are_tried_before_refusing(
    tmp_path, context, photos, monkeypatch, seconds, tta, side
):
    _profiled(monkeypatch, seconds)
    notes: list[str] = []
    run, data = fit_to_budget(_begin(tmp_path, replace(context, log=notes.append)), photos)
    assert (run.recipe.train.tta, data.train.shape[0], data.test.shape[0]) == (tta, side, side)
    assert any("32 x 32 pixels" in note for note in notes) is (side == 32)
    check_budget(run, data.train)


def test_infeasible_budget_is_refused_and_requested_resolution_is_kept(tmp_path, context, photos, monkeypatch):
    _profiled(monkeypatch, 60.0)
    run, data = fit_to_budget(_begin(tmp_path, context), photos)
    with pytest.raises(BudgetTooSmall, match="The least that works is"):
        check_budget(run, data.train)
    _profiled(monkeypatch, 15.0)
    run, data = fit_to_budget(_begin(tmp_path, context, resolution=64), photos)
    assert data is photos
    with pytest.raises(BudgetTooSmall):
        check_budget(run, data.train)


def test_resumed_run_keeps_its_tta_and_image_size(tmp_path, context, photos, monkeypatch):
    profiled = _profiled(monkeypatch, 1.0)
    RunDir(tmp_path).update(recipe={}, views="flip", side=32)
    run, data = fit_to_budget(_begin(tmp_path, context), photos)
    assert (run.recipe.train.tta, data.train.shape[0]) == ("flip", 32) and not profiled


@pytest.mark.parametrize(("crowded", "expected"), [(False, (4.0, 2.0)), (True, (1.0, 0.5))])
def test_on_a_busy_machine_estimates_assume_all_threads(tmp_path, context, crowded, expected):
    run = _begin(tmp_path, replace(context, threads=4))
    times = preflight._optimistic(run, StepTimes(4.0, 2.0, crowded=crowded))
    assert (times.train, times.predict) == expected
