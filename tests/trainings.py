"""Plan and train in one call, from the settings of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar
from unittest.mock import patch

import pytest

from shoestring import execute
from shoestring.budget import Budget, Window
from shoestring.config.plan import TrainPlan
from shoestring.config.recipe import Grow, Prune, Recipe, Train
from shoestring.data.images import Dataset, Images
from shoestring.growth import Schedule
from shoestring.growth.compose import compose
from shoestring.models.model import Model
from shoestring.planning.plan import Allotment, plan_training
from shoestring.planning.profiling import Profiler
from shoestring.planning.resolve import resolve
from shoestring.runtime.context import Context
from shoestring.training import loop, setup
from shoestring.training.checkpoint import Checkpoint, Extended
from shoestring.training.dynamics import Recorder
from shoestring.training.early_stopping import Score
from shoestring.training.loop import Hooks
from shoestring.training.progress import TrainingState, TrainingSummary

WHOLE = (0.0, 1.0)
T = TypeVar("T")


def fit(
    model: Model,
    images: Images,
    window: Window,
    *,
    settings: Train,
    context: Context,
    schedule: Schedule | None = None,
    part: tuple[float, float] = WHOLE,
    record: Recorder | None = None,
    score: Score | None = None,
    anytime: bool = False,
    replan: Callable[[float], bool] | None = None,
) -> TrainingSummary:
    """Plan and train, with any schedule, registered or not."""
    schedule = _schedule(window, context, schedule)
    allotment = Allotment(len(images), window.length, None, part)
    plan = plan_training(model, images, settings, allotment, Profiler(window.budget, context), schedule=schedule)
    hooks = Hooks(record=record, score=score, anytime=anytime, replan=replan)
    with _growing(schedule):
        return loop.fit(model, images, window, plan, context, hooks)


def prepare(
    model: Model, images: Images, window: Window, *, settings: Train, context: Context, schedule: Schedule | None = None
) -> TrainingState:
    """Plan and prepare training, or resume it from the checkpoint in the context's folder."""
    start = Checkpoint(context.folder).start(window.budget.total)
    schedule = _schedule(window, context, schedule)
    allotment = Allotment(len(images), window.length, None, WHOLE)
    plan = plan_training(model, images, settings, allotment, Profiler(window.budget, context), schedule=schedule)
    with _growing(schedule):
        return setup.prepare(model, images, window, plan, context, start)


def interrupt_and_resume(run: Callable[[Context], T], context: Context, stop: int) -> tuple[dict, T, list[str]]:
    """Interrupt `run` at its report number `stop` and run it again; return that report, the result and the log."""
    reports: list[dict] = []

    def interrupt(step: str, fraction: float, values: dict) -> None:
        reports.append(values)
        if len(reports) == stop:
            raise KeyboardInterrupt

    notes: list[str] = []
    context = replace(context, log=notes.append)
    with pytest.raises(KeyboardInterrupt):
        run(replace(context, on_progress=interrupt))
    return reports[-1], run(context), notes


def _schedule(window: Window, context: Context, schedule: Schedule | None) -> Schedule:
    extended = isinstance(Checkpoint(context.folder).start(window.budget.total), Extended)
    return compose("constant", {}) if schedule is None or extended else schedule


@contextmanager
def _growing(schedule: Schedule) -> Iterator[None]:
    def growth_of(plan: TrainPlan) -> Schedule:
        return schedule

    with patch.object(loop, "growth_of", growth_of), patch.object(setup, "growth_of", growth_of):
        yield


def run_train(
    images: Images,
    settings: Train,
    grow: Grow,
    *,
    budget: Budget,
    context: Context,
    validation: Images | None = None,
    later: Prune | None = None,
) -> tuple[Model, TrainingSummary]:
    """Call `execute.train` with a plan for these images."""
    recipe = Recipe(train=settings, grow=grow, prune=later or Prune())
    steps = [name for name in recipe.steps if name in budget.weights]
    resolved = resolve(recipe, Dataset.of(images, validation), budget, context, steps=steps)
    return execute.train(images, resolved, budget=budget, validation=validation)[:2]
