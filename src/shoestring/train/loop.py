"""The one training loop: until its stretch of the budget is spent, the learning rate reaching zero right there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from shoestring.budget import Window
from shoestring.context import Context
from shoestring.data.augment import Augment
from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.grow import Stage
from shoestring.models.model import Model
from shoestring.recipe import Train
from shoestring.running import out_of_memory
from shoestring.train import plan
from shoestring.train.checkpoint import Checkpoint
from shoestring.train.dynamics import Recorder
from shoestring.train.pace import Pace
from shoestring.train.patience import Patience
from shoestring.train.setup import begin

_TICK = 0.5  # seconds between reports


@dataclass(frozen=True)
class Training:
    """How a training went; the final learning rate is a share of its peak."""

    steps: int
    epochs: float
    batch_size: int
    optimiser: str
    precision: str
    final_learning_rate: float
    ended: str  # "budget" or "patience"


def fit(
    model: Model,
    images: Images,
    window: Window,
    *,
    settings: Train,
    context: Context,
    schedule: Callable[[float], Stage] = lambda spent: Stage(),
    augment: Augment | None = None,
    scale: float = 1.0,
    part: tuple[float, float] = (0.0, 1.0),
    record: Recorder | None = None,
    score: Callable[[Model], float] | None = None,
) -> Training:
    """Train the model in place on the images until the window of the budget is spent.

    `schedule` says what to train at each fraction; `scale` multiplies the usual learning rate, and `part` is the
    stretch of its schedule that this training covers (all of it, unless others go on); `record` watches all batches.
    With `settings.patience`, training stops when that many scores in a row (`score(model)`, higher is better) brought
    nothing, and the best weights are kept. Without it the weights are averaged over the last steps.
    An interrupted training goes on from the state in `context.folder`. Raises `BudgetTooSmall` before the first step
    when not even ten steps fit, `UserError` when the loss stops being a number.
    """
    checkpoint = Checkpoint(context.folder)
    augment = augment or plan.augmentation(settings, len(images))
    saved = checkpoint.load()
    state = begin(model, images, window, settings=settings, context=context, augment=augment, scale=scale, saved=saved)
    if record is not None:
        state.watch(record)
    budget, batches, full = window.budget, state.batches, model.preprocessing.resolution
    first, last = part
    pace = Pace(state.speed.train * batches.size, full)
    patience = Patience(settings.patience)
    if saved is not None:
        patience.restore(saved["patience"])
    ended, factor, ticked = "budget", 1.0, time.monotonic()
    loss: Tensor | None = None

    while True:
        side = plan.side(schedule(window.fraction), full)
        price = state.price(side, full)
        cost = pace.expect(side) if budget.unit == "seconds" else price[budget.unit]
        if window.left < (cost if budget.unit == "seconds" else cost / 2):
            break
        began = time.monotonic()
        factor = state.optimiser.factor(first + (last - first) * window.ahead(cost / 2))
        try:
            loss = state.step(side, full, factor, smoothing=settings.label_smoothing)
        except RuntimeError as error:
            if batches.size == 1 or not out_of_memory(error):
                raise
            state.halve()
            context.say(f"out of memory: going on with {batches.size} images a step")
            pace = Pace(state.speed.train * batches.size, full)
            continue
        budget.charge(**price)
        pace.add(side, time.monotonic() - began)
        budget.pace = state.speed.predict * pace.slowdown
        if time.monotonic() - ticked > _TICK:
            ticked = time.monotonic()
            value = _finite(loss)
            context.tick(
                "train", window.fraction, {"loss": value, "learning_rate": factor, "epoch": state.epoch, "side": side}
            )
        if (
            score is not None
            and patience.due(window.fraction)
            and patience.over(score(model), model.module, window.fraction)
        ):
            ended = "patience"
            break
        if checkpoint.due():
            checkpoint.save({**state.pack(window), "patience": patience.state()})

    if loss is not None:
        _finite(loss)
    if not patience.restore_best(model.module) and state.average is not None:
        state.average.apply(model.module)
    context.tick("train", 1.0, {"learning_rate": state.optimiser.factor(last), "epoch": state.epoch})
    return Training(state.steps, state.epoch, batches.size, state.optimiser.name, state.speed.precision, factor, ended)


def _finite(loss: Tensor) -> float:
    """The loss as a number; `UserError` when training has gone astray."""
    value = loss.item()
    if not math.isfinite(value):
        raise UserError(f"training diverged (the loss is {value}). Use a lower --learning-rate.")
    return value
