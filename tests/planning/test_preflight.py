from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

import shoestring.planning.resolve as resolving
from shoestring.budget import Budget
from shoestring.config.plan import Plan, StepTimes
from shoestring.config.recipe import Recipe, Train
from shoestring.config.units import Duration
from shoestring.errors import BudgetTooSmall
from shoestring.planning import preflight, requirements
from shoestring.planning.profiling import Profile, Profiler
from shoestring.planning.request import Request
from shoestring.planning.resolve import Resolved, resolve
from shoestring.runtime.distributed import Distributed

RECIPE = Recipe(time=Duration("10000s"), train=Train(model="convnet", width=0.125, flip=True), device="cpu")


@pytest.fixture
def photos(make_images):
    """Three splits of 64 x 64 images."""
    from shoestring.data import Dataset

    train, validation, test = (make_images(count, side=64, channels=3) for count in (300, 50, 100))
    return Dataset("photos", train, validation, test)


def _resolve(photos, context, *, stored: Plan | None = None, **changes) -> Resolved:
    recipe = replace(RECIPE, **changes)
    return resolve(recipe, photos, Budget(recipe.time, steps=recipe.steps), context, stored=stored)


def _profiled(monkeypatch, seconds: float, *, slow: float = 1.0) -> list[tuple[int, ...]]:
    """Fake profiling: a 64 x 64 image trains in `seconds`, a smaller one in less; return the profiled shapes."""
    profiled = []

    def measure(profiler, model, images, settings, size) -> Profile:
        profiled.append(images.shape)
        cost = seconds * (images.shape[0] / 64) ** 2
        return Profile("float32", StepTimes(cost, cost / 3))

    monkeypatch.setattr(Profiler, "_measure", measure)
    monkeypatch.setattr(requirements, "_SLOW", slow)
    monkeypatch.setattr(
        preflight, "with_tta", lambda settings, *_, **__: (replace(settings, tta="crops"), "as measured")
    )
    return profiled


def test_ample_budget_is_not_spent_on_profiling(context, photos, monkeypatch):
    profiled = _profiled(monkeypatch, 1.0, slow=5e9)
    resolved = _resolve(photos, context, time=Duration("100h"))
    assert len(profiled) == 1 and resolved.data is photos  # the network to train, once


@pytest.mark.parametrize(
    ("seconds", "tta", "side"), [(5.0, "crops", 64), (6.8, "flip", 64), (7.0, "none", 64), (15.0, "none", 32)]
)
def test_less_tta_and_smaller_images_are_tried_before_refusing(context, photos, monkeypatch, seconds, tta, side):
    _profiled(monkeypatch, seconds)
    notes: list[str] = []
    resolved = _resolve(photos, replace(context, log=notes.append))
    data = resolved.data
    assert (resolved.plan.tta, data.train.shape[0], data.test.shape[0]) == (tta, side, side)
    assert any("32 x 32 pixels" in note for note in notes) is (side == 32)


def test_all_processes_of_a_job_resize_their_images(context, photos, monkeypatch):
    _profiled(monkeypatch, 15.0)
    messages: list[object] = []
    monkeypatch.setattr(Distributed, "broadcast", lambda self, message: messages.append(message))
    resolved = _resolve(photos, replace(context, distributed=Distributed(rank=0, size=2, local_rank=0)))
    assert resolved.data.train.shape[0] == 32 and messages == [("resize", 32)]


def test_width_is_chosen_with_the_measured_time_for_evaluation(context, photos, monkeypatch):
    _profiled(monkeypatch, 3e-3, slow=1e7)  # which suffices, but is not how long evaluation takes
    reserved: list[float | None] = []
    allotment_of = resolving.allotment_of

    def spy(budget, step, **kwargs):
        reserved.append(budget.seconds_per_pass)
        return allotment_of(budget, step, **kwargs)

    monkeypatch.setattr(resolving, "allotment_of", spy)
    _resolve(photos, context, train=Train(weights="none"))
    assert reserved[-1] == pytest.approx(1e-3)


def test_infeasible_budget_is_refused_and_requested_resolution_is_kept(context, photos, monkeypatch):
    _profiled(monkeypatch, 60.0)
    with pytest.raises(BudgetTooSmall, match="The least that works is"):
        _resolve(photos, context)
    _profiled(monkeypatch, 15.0)
    with pytest.raises(BudgetTooSmall):
        _resolve(photos, context, resolution=64)


@pytest.mark.parametrize("seconds", [1e-3, 60.0])
def test_checking_the_time_leaves_the_reserve_as_it_was(context, photos, monkeypatch, seconds):
    _profiled(monkeypatch, seconds)
    budget = Budget(RECIPE.time, steps=RECIPE.steps)
    request = Request(RECIPE, photos, Profiler(budget, context), RECIPE.steps)
    budget.seconds_per_pass = 0.5
    with suppress(BudgetTooSmall):
        preflight._check_time(request, preflight._network(request))
    assert budget.seconds_per_pass == 0.5


def test_resumed_run_keeps_its_tta_and_image_size(context, photos, monkeypatch):
    _profiled(monkeypatch, 1.0)
    resolved = _resolve(photos, context, stored=Plan(32, "flip"))
    assert (resolved.plan.tta, resolved.data.train.shape[0]) == ("flip", 32)


@pytest.mark.parametrize(("crowded", "expected"), [(False, (4.0, 2.0)), (True, (1.0, 0.5))])
def test_on_a_busy_machine_estimates_assume_all_threads(photos, context, crowded, expected):
    profiler = Profiler(Budget(9), replace(context, threads=4))
    request = Request(RECIPE, photos, profiler, RECIPE.steps)
    times = preflight._optimistic(request, StepTimes(4.0, 2.0, crowded=crowded))
    assert (times.train, times.predict) == expected
