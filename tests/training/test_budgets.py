from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch

from shoestring.budget import Budget
from shoestring.config.recipe import Train
from shoestring.errors import BudgetTooSmall
from shoestring.growth import Schedule, Stage
from trainings import fit

SETTINGS = Train(batch_size=10, label_smoothing=0.0)


@pytest.mark.parametrize(("epochs", "size", "steps"), [(3, 10, 18), (3.4, 15, 14), (2.6, 14, 11)])
def test_epochs_are_counted_to_half_a_step(images, make_model, context, epochs, size, steps):
    budget = Budget(epochs=epochs, steps=("train",))
    settings = replace(SETTINGS, batch_size=size)
    went = fit(make_model(images), images, budget.window("train"), settings=settings, context=context)
    assert went.steps == steps
    assert budget.spent == pytest.approx(went.epochs) == steps * size / 60
    assert abs(budget.spent - epochs) <= size / 60 / 2 + 1e-9


def test_operations_are_counted_and_small_images_cost_less(images, make_model, context):
    from shoestring.evaluation.cost import count_macs

    model = make_model(images)
    step = 6.0 * count_macs(model) * 10
    budget = Budget(flops=20 * step, steps=("train",))
    assert fit(model, images, budget.window("train"), settings=SETTINGS, context=context).steps == 20
    assert budget.spent == 20 * step
    wide, sides = make_model(images), []
    wide = replace(wide, preprocessing=replace(wide.preprocessing, resolution=16))
    wide.module.register_forward_pre_hook(lambda _, inputs: sides.append(inputs[0].shape[-1]))
    step = 6.0 * count_macs(wide) * 10
    sides.clear()

    def grow(spent: float) -> Stage:
        return Stage(0.5 if spent < 0.5 else 1.0)

    window = Budget(flops=20 * step, steps=("train",)).window("train")
    went = fit(wide, images, window, settings=SETTINGS, context=context, schedule=Schedule("x", grow))
    assert went.steps == 50  # forty at a quarter of the price
    assert sides[-50:] == [8] * 40 + [16] * 10


class _Clock:
    """Seconds that pass only when the network works: a tenth for each pass forward, or more when that is slower."""

    def __init__(self) -> None:
        self.now, self.slow_down = 1000.0, lambda: 1.0

    def __call__(self) -> float:
        return self.now

    def work(self, *_) -> None:
        self.now += 0.1 * self.slow_down()


class _Working(torch.nn.Module):
    """A network that takes the clock's time."""

    clock: _Clock

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        type(self).clock.work()
        return self.inner(images)


@pytest.fixture
def clock(monkeypatch):
    clock = _Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    monkeypatch.setattr(_Working, "clock", clock, raising=False)
    return clock


@pytest.mark.parametrize("slower", [1.0, 3.0])
def test_time_is_used_up_and_never_exceeded(images, make_model, context, clock, slower):
    model = make_model(images)
    model = replace(model, module=_Working(model.module))
    budget = Budget(time=60, steps=("train",))
    budget.reserve("exit", 2.0)
    window = budget.window("train")
    clock.slow_down = lambda: slower if window.fraction > 0.5 else 1.0
    settings = replace(SETTINGS, precision="float32")
    went = fit(model, images, window, settings=settings, context=context)
    kept = 2.0 * slower  # what must still happen takes longer, too
    assert 60.0 - kept - 2 * 0.1 * slower <= budget.spent <= 58.0 + 1e-6
    assert went.ended == "budget"
    assert went.final_learning_rate < 0.02


def test_steps_that_now_and_then_take_far_longer_do_not_miss_the_deadline(images, make_model, context, clock):
    model = make_model(images)
    model = replace(model, module=_Working(model.module))
    budget, passes = Budget(time=60, steps=("train",)), iter(range(10_000))
    budget.reserve("exit", 2.0)
    clock.slow_down = lambda: 25.0 if next(passes) % 30 == 29 else 1.0
    settings = replace(SETTINGS, precision="float32")
    went = fit(model, images, budget.window("train"), settings=settings, context=context)
    assert 58.0 - 2 * 2.5 <= budget.spent <= 58.0 + 1e-6
    assert went.final_learning_rate < 0.05


@pytest.mark.parametrize("other", [True, False])
def test_a_plan_that_is_far_off_is_made_anew_early(images, make_model, context, clock, other):
    model = make_model(images)
    model = replace(model, module=_Working(model.module))
    budget, asked = Budget(time=60, steps=("train",)), []
    window = budget.window("train")
    clock.slow_down = lambda: 1.0 if budget.seconds_per_pass is None else 3.0  # from the first step on

    def plan_anew(ratio: float) -> bool:
        asked.append((ratio, window.fraction))
        return other

    settings = replace(SETTINGS, precision="float32")
    went = fit(model, images, window, settings=settings, context=context, replan=plan_anew)
    [(ratio, fraction)] = asked
    assert ratio == pytest.approx(3.0, rel=0.05) and 0.05 <= fraction < 0.08
    assert went.ended == ("plan" if other else "budget")
    assert budget.spent < 6 if other else budget.spent > 58


def test_a_plan_that_fits_stays(images, make_model, context, clock):
    model = make_model(images)
    model = replace(model, module=_Working(model.module))
    window = Budget(time=60, steps=("train",)).window("train")
    settings, asked = replace(SETTINGS, precision="float32"), []
    fit(model, images, window, settings=settings, context=context, replan=asked.append)
    assert not asked


def test_a_time_too_short_is_known_before_the_first_step(images, make_model, context, clock):
    model = make_model(images)
    model = replace(model, module=_Working(model.module))
    settings = replace(SETTINGS, precision="float32")
    with pytest.raises(BudgetTooSmall, match="--time 1s is too small") as caught:
        fit(model, images, Budget(time=1).window("train"), settings=settings, context=context)
    least = caught.value.least
    went = fit(model, images, Budget(time=least).window("train"), settings=settings, context=context)
    assert went.steps >= 10
