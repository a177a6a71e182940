"""The one training loop: until its stretch of the budget is spent, the learning rate reaching zero right there."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext

from torch import Tensor

from shoestring.budget import Window
from shoestring.config.recipe import Train
from shoestring.data.images import Images
from shoestring.growth import Schedule, Stage
from shoestring.growth.compose import compose
from shoestring.models.model import Model
from shoestring.runtime.context import Context
from shoestring.runtime.signals import GracePeriod
from shoestring.runtime.threads import ThreadTuner
from shoestring.runtime.timing import Stopwatch
from shoestring.training.checkpoint import Checkpoint
from shoestring.training.distributed import Lead
from shoestring.training.dynamics import Recorder
from shoestring.training.early_stopping import Patience, Score
from shoestring.training.keeper import Keeper
from shoestring.training.setup import begin
from shoestring.training.state import Training

_TICK = 0.5  # seconds between reports
_CHECKED, _OFF = 0.05, 1.5  # when the plan is compared with the true pace, and the ratio from which it is made anew
PLAN_ANEW = "plan"  # how a training ended that is to be planned anew


def fit(
    model: Model,
    images: Images,
    window: Window,
    *,
    settings: Train,
    context: Context,
    schedule: Schedule | None = None,
    scale: float = 1.0,
    part: tuple[float, float] = (0.0, 1.0),
    record: Recorder | None = None,
    score: Score | None = None,
    anytime: bool = False,
    plan_anew: Callable[[float], bool] | None = None,
) -> Training:
    """Train the model in place on the images until the window of the budget is spent.

    `schedule` says what to train at each fraction; `scale` multiplies the usual learning rate, and `part` is the
    stretch of its schedule that this training covers (all of it, unless others go on); `record` watches all batches.
    With `settings.patience`, training stops when that many scores of the whole network in a row brought nothing, and
    the best weights are kept. Without it the weights are averaged over the last steps.
    An interrupted training goes on from the state in `context.folder`, and so does one of the schedule "anytime" that
    had ended; with `anytime` a model to use is there too from a tenth on, and a signal anneals before it interrupts.
    `plan_anew` is asked once, early, when steps take another time than planned (their ratio is its argument); if it
    returns True, this training ends as it is (`PLAN_ANEW`).
    Raises `BudgetTooSmall` before the first step when not even ten steps fit, `UserError` for a schedule that the
    network cannot follow, and when the loss stops being a number again and again.
    """
    checkpoint = Checkpoint(context.folder)
    saved = checkpoint.load()
    longer = saved is not None and saved["ended"] and window.budget.total > saved["total"]
    extended = longer or (saved is not None and saved["extended"])
    schedule = compose("constant", {}) if extended or schedule is None else schedule
    around = {"context": context, "schedule": schedule, "scale": scale, "saved": saved, "longer": longer}
    state = begin(model, images, window, settings=settings, **around)
    if record is not None:
        state.watch(record)
    patience, grace = Patience(settings.patience, score), GracePeriod()
    if saved is not None:
        with checkpoint.restoring():
            patience.restore(saved["patience"], anew=longer)
    lead = Lead(state, images, context)
    kept = {"anytime": anytime, "extendable": settings.schedule == "anytime" and part[0] == 0, "extended": extended}
    keeper, budget, (first, last) = Keeper(state, window, context, **kept), window.budget, part
    budget.reserve("norms", images=state.looked_at)
    if extended:  # the schedule of a longer training, from the place where the shorter one ended
        first = last * window.start / window.end
    over = saved is not None and saved["ended"] and not longer
    ended, factor, ticked = "budget", state.optimiser.factor(last), time.monotonic()
    loss: Tensor | None = None
    watch = Stopwatch[float](context.device)
    timed = budget.unit == "seconds"
    threads = ThreadTuner(context.threads) if timed and context.threads is not None else None

    def note(work: float, seconds: float, busy: float) -> None:
        alone = threads is not None and threads.count == 1
        state.pace.add(work, seconds, min(seconds, busy) if alone else None)
        if threads is not None:
            threads.add(work, seconds, busy)

    with grace if anytime else nullcontext():
        while grace.remaining and not over:
            stage = schedule(window.fraction)
            state.grow(stage)
            price = state.price
            cost = price[budget.unit]
            asked = watch.pending * cost if timed else 0.0  # for what is not spent yet
            if window.remaining < asked + (cost if timed else cost / 2):
                break
            progress = first + (last - first) * window.ahead(asked + cost / 2)
            factor = grace.remaining * state.optimiser.factor(progress)
            with watch(state.work, note):
                loss = lead.step(stage, factor, smoothing=settings.label_smoothing, progress=progress)
            if loss is None:  # memory did not suffice
                watch.reset()
                continue
            budget.charge(epochs=price["epochs"], flops=price["flops"])
            budget.slowdown = state.pace.slowdown
            budget.pace = state.speed.predict * budget.slowdown
            budget.reserve("uneven steps", state.pace.excess)
            # seconds do not follow operations: only steps of the whole problem tell whether the plan was right
            if timed and plan_anew and state.work == 1 and state.pace.knows(1.0) and window.fraction >= _CHECKED:
                asked_anew, plan_anew = plan_anew if window.fraction < 2 * _CHECKED else None, None
                ratio = state.off_by
                if asked_anew and max(ratio, 1 / ratio) > _OFF and asked_anew(ratio):
                    budget.release("norms")
                    budget.release("uneven steps")
                    return state.result(factor, PLAN_ANEW)
            if time.monotonic() - ticked > _TICK:
                ticked = time.monotonic()
                context.on_progress(
                    "train", window.fraction, {"loss": loss.item(), "learning_rate": factor, **state.told}
                )
            if stage == Stage() and patience.stops(model, window):
                ended = "patience"
                break
            if keeper.due() and not grace.started and not keeper.well(loss, patience=patience.state()):
                loss = None
        if loss is not None:
            keeper.stray(loss)
        if grace.started:
            keeper.snapshots.save(state.shipped)
            context.log("told to end: the learning rate went to zero, and the model is kept as a snapshot")
            raise KeyboardInterrupt

    state.grow(Stage())  # where a machine that stood still has missed the last stage
    keeper.end(patience=patience.state())
    if not (patience.knows_end(window.fraction) and patience.restore_best(model.module)):
        state.finish()
    budget.release("norms")
    budget.release("uneven steps")
    context.on_progress("train", 1.0, {"learning_rate": state.optimiser.factor(last), "epoch": state.epoch})
    return state.result(factor, ended)
