"""The training loop: until its part of the budget is spent, when the learning rate reaches zero."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

from torch import Tensor

from shoestring.budget import Window
from shoestring.config.plan import TrainPlan
from shoestring.data.images import Images
from shoestring.growth import Stage
from shoestring.models.model import Model
from shoestring.runtime.context import Context
from shoestring.runtime.signals import GracePeriod
from shoestring.runtime.threads import ThreadTuner
from shoestring.runtime.timing import Stopwatch
from shoestring.training.checkpoint import Checkpoint, Extended, Fresh, Resumed, Start
from shoestring.training.distributed import Lead
from shoestring.training.dynamics import Recorder
from shoestring.training.early_stopping import Patience, Score
from shoestring.training.keeper import Keeper
from shoestring.training.progress import Progress, Training
from shoestring.training.setup import growth_of, prepare

_TICK = 0.5  # seconds between progress reports
_CHECKED, _OFF = 0.05, 1.5  # fraction at which the plan is checked, and ratio of step times from which it is revised
REPLAN = "plan"  # how a training ended that is to be planned again


@dataclass(frozen=True)
class Hooks:
    """What may take part in a training.

    `record` records training dynamics. `score` scores the model for early stopping. With `anytime` a usable model is on
    disk from a tenth of the training on, and a signal anneals the learning rate before it interrupts. `replan` is
    called once, early, if steps take another time than planned, with the ratio; if it returns True, training ends.
    """

    record: Recorder | None = None
    score: Score | None = None
    anytime: bool = False
    replan: Callable[[float], bool] | None = None


def fit(
    model: Model, images: Images, window: Window, plan: TrainPlan, context: Context, hooks: Hooks | None = None
) -> Training:
    """Train the model in place on the images until the window of the budget is spent.

    With early stopping, training stops when that many scores in a row brought nothing better, and the best weights are
    restored; otherwise the weights are averaged over the last steps (EMA). An interrupted training continues from the
    state in `context.folder`, with the plan that it had.

    Raises `BudgetTooSmall` before the first step if fewer than ten steps fit, and `UserError` for a growth schedule
    that the network cannot follow, and if the loss is not finite again and again.
    """
    start = Checkpoint(context.folder).start(window.budget.total)
    if isinstance(start, Resumed):
        plan = start.saved.plan
    progress = prepare(model, images, window, plan, context, start)
    if isinstance(start, Extended):  # the schedule of a longer training, from where the shorter one ended
        last = plan.lr_range[1]
        progress.plan = replace(plan, lr_range=(last * window.start / window.end, last))
    loop = _Loop(progress, images, window, context, hooks or Hooks(), start)
    return loop.run()


class _Loop:
    """One training; see `fit`."""

    def __init__(
        self, progress: Progress, images: Images, window: Window, context: Context, hooks: Hooks, start: Start
    ) -> None:
        self.progress, self.window, self.context, self.hooks = progress, window, context, hooks
        plan, self.budget = progress.plan, window.budget
        self.schedule = growth_of(plan)
        if hooks.record is not None:
            progress.watch(hooks.record)
        self.patience, self.grace = Patience(plan.patience, hooks.score), GracePeriod()
        self.over = False
        if not isinstance(start, Fresh):
            with Checkpoint(context.folder).restoring():
                self.patience.restore(start.saved.content["patience"], anew=isinstance(start, Extended))
            self.over = isinstance(start, Resumed) and start.saved.ended
        self.lead = Lead(progress, images, context)
        self.keeper = Keeper(progress, window, context, anytime=hooks.anytime)
        self.timed = self.budget.unit == "seconds"
        self.threads = ThreadTuner(context.threads) if self.timed and context.threads is not None else None
        self.watch = Stopwatch[float](context.device)
        self.replan, self.reported = hooks.replan, time.monotonic()
        self.factor = progress.stepper.optimizer.factor(plan.lr_range[1])
        self.loss: Tensor | None = None

    def run(self) -> Training:
        """Train to the end."""
        progress, budget = self.progress, self.budget
        budget.reserve("norms", images=progress.norm_images)
        ended = "budget"
        with self.grace if self.hooks.anytime else nullcontext():
            while self.grace.remaining and not self.over and self._step():
                if self.loss is None:
                    continue
                if self._revises_plan():
                    return self._release(REPLAN)
                self._report()
                if self._stops():
                    ended = "patience"
                    break
                self._keep()
            if self.loss is not None:
                self.keeper.stray(self.loss)
            if self.grace.started:
                self.keeper.snapshots.save(progress.usable)
                self.context.log("SIGTERM: annealed the learning rate and saved a snapshot")
                raise KeyboardInterrupt
        return self._finish(ended)

    def _step(self) -> bool:
        """Train one step if it fits; False at the end of the window. After out of memory, the loss is None."""
        progress, window = self.progress, self.window
        stage = self.stage = self.schedule(window.fraction)
        progress.enter(stage)
        price = progress.price
        cost = price[self.budget.unit]
        pending = self.watch.pending * cost if self.timed else 0.0  # asked for, but not spent yet
        if window.remaining < pending + (cost if self.timed else cost / 2):
            return False
        first, last = progress.plan.lr_range
        fraction = first + (last - first) * window.ahead(pending + cost / 2)
        self.factor = self.grace.remaining * progress.stepper.optimizer.factor(fraction)
        with self.watch(progress.stages.work, self._note):
            self.loss = self.lead.step(stage, self.factor, fraction=fraction)
        if self.loss is None:
            self.watch.reset()
            return True
        self.budget.charge(epochs=price["epochs"], flops=price["flops"])
        self.budget.slowdown = progress.pace.slowdown
        self.budget.seconds_per_pass = progress.predict_seconds * self.budget.slowdown
        self.budget.reserve("uneven steps", progress.pace.excess)
        return True

    def _note(self, work: float, seconds: float, busy: float) -> None:
        """Take note of the seconds of a step, and of the processor seconds in it."""
        alone = self.threads is not None and self.threads.count == 1
        self.progress.pace.add(work, seconds, min(seconds, busy) if alone else None)
        if self.threads is not None:
            self.threads.add(work, seconds, busy)

    def _revises_plan(self) -> bool:
        """Whether training ends here to be planned again.

        Seconds do not follow operations: only steps of the whole network tell whether the plan was right.
        """
        progress, fraction = self.progress, self.window.fraction
        known = self.timed and progress.stages.work == 1 and progress.pace.knows(1.0)
        if self.replan is None or not known or fraction < _CHECKED:
            return False
        replan, self.replan = self.replan, None
        ratio = progress.off_by
        return fraction < 2 * _CHECKED and max(ratio, 1 / ratio) > _OFF and replan(ratio)

    def _report(self) -> None:
        if time.monotonic() - self.reported > _TICK and self.loss is not None:
            self.reported = time.monotonic()
            values = {"loss": self.loss.item(), "learning_rate": self.factor, **self.progress.values}
            self.context.on_progress("train", self.window.fraction, values)

    def _stops(self) -> bool:
        """Whether early stopping ends the training; only the whole network is scored."""
        return self.stage == Stage() and self.patience.stops(self.progress.model, self.window)

    def _keep(self) -> None:
        """Save what is due, if the training is sound; otherwise it continues from an earlier state."""
        if self.loss is None or self.grace.started or not self.keeper.due():
            return
        if not self.keeper.well(self.loss, patience=self.patience.state()):
            self.loss = None

    def _finish(self, ended: str) -> Training:
        progress = self.progress
        progress.enter(Stage())  # where a stalled machine has missed the last stage
        self.keeper.end(patience=self.patience.state())
        if not (self.patience.knows_end(self.window.fraction) and self.patience.restore_best(progress.model.module)):
            progress.finish()
        rate = progress.stepper.optimizer.factor(progress.plan.lr_range[1])
        summary = self._release(ended)
        self.context.on_progress("train", 1.0, {"learning_rate": rate, "epoch": progress.epoch})
        return summary

    def _release(self, ended: str) -> Training:
        """Release what was reserved, and return the summary."""
        self.budget.release("norms")
        self.budget.release("uneven steps")
        return self.progress.summary(self.factor, ended)
