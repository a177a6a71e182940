"""The training loop: ends when its part of the budget is spent and the learning rate has reached zero."""

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
from shoestring.training.distillation import Teacher
from shoestring.training.distributed import Rank0
from shoestring.training.dynamics import Recorder
from shoestring.training.early_stopping import EarlyStopping, Score
from shoestring.training.frozen import run_frozen_part
from shoestring.training.progress import Constraint, TrainingState, TrainingSummary
from shoestring.training.saving import Saver, Validate
from shoestring.training.setup import growth_of, prepare

_REPORT_SECONDS = 0.5  # seconds between progress reports
_CHECK_AT, _MAX_RATIO = 0.05, 1.5  # fraction at which the plan is checked, ratio of step times from which it is revised
REPLAN = "plan"  # `TrainingSummary.ended` of a training to be planned again


@dataclass(frozen=True)
class Hooks:
    """Optional parts of a training.

    `record` records training dynamics. `score` scores the model for early stopping. With `anytime`, snapshots are saved
    from a tenth of the training on, and SIGTERM anneals the learning rate before it interrupts. `replan` is called
    once, early, with the ratio of measured to planned step time if they differ; if it returns True, training ends.
    `teacher` is a network whose predictions are learned beside the labels. `constrain` is called after each step with
    the fraction of the training, and may change the weights in place. `validate` measures accuracy and loss of a model
    on at most so many validation images; it is called for snapshots, if the budget is a time and nothing is scored for
    early stopping.
    """

    record: Recorder | None = None
    score: Score | None = None
    anytime: bool = False
    replan: Callable[[float], bool] | None = None
    constrain: Constraint | None = None
    validate: Validate | None = None
    teacher: Teacher | None = None


def fit(
    model: Model,
    images: Images,
    window: Window,
    plan: TrainPlan,
    context: Context,
    hooks: Hooks | None = None,
    *,
    start: Start | None = None,
) -> TrainingSummary:
    """Train the model in place on the images until the window of the budget is spent.

    With early stopping, training stops after `plan.patience` scores in a row without improvement, and the best weights
    are restored; otherwise the final weights are an exponential moving average (EMA). An interrupted training continues
    from the checkpoint in `context.folder`, with its own plan; `start` is that checkpoint if it was read before.

    Raises `BudgetTooSmall` before the first step if fewer than ten steps fit, and `UserError` for a growth schedule
    that the network does not support, and if training diverges repeatedly.
    """
    start = start or Checkpoint(context.folder).start(window.budget.total)
    if isinstance(start, Resumed):
        plan = start.saved.plan
    state = prepare(model, images, window, plan, context, start)
    if isinstance(start, Extended):  # continue the schedule where the shorter training ended
        last = plan.lr_range[1]
        state.plan = replace(plan, lr_range=(last * window.start / window.end, last))
    try:
        run_frozen_part(state, window, context)
        if isinstance(start, Fresh) and state.batches.outputs is not None:
            window.restart()  # the schedule begins with the first step
        return _Loop(state, images, window, context, hooks or Hooks(), start).run()
    finally:
        state.unfreeze()


class _Loop:
    """One training; see `fit`."""

    def __init__(
        self, state: TrainingState, images: Images, window: Window, context: Context, hooks: Hooks, start: Start
    ) -> None:
        self.state, self.window, self.context, self.hooks = state, window, context, hooks
        plan, self.budget = state.plan, window.budget
        self.schedule = growth_of(plan)
        if hooks.record is not None:
            state.watch(hooks.record)
        if hooks.teacher is not None:
            state.learn_from(hooks.teacher)
        state.constrain = hooks.constrain
        self.early_stopping, self.grace = EarlyStopping(plan.patience, hooks.score), GracePeriod()
        self.ended = False
        if not isinstance(start, Fresh):
            with Checkpoint(context.folder).restoring():
                self.early_stopping.restore(start.saved.content["patience"], reset=isinstance(start, Extended))
            self.ended = isinstance(start, Resumed) and start.saved.ended
        self.rank0 = Rank0(state, images, context)
        self.timed = self.budget.unit == "seconds"
        validate = hooks.validate if self.timed and plan.patience is None else None
        self.saver = Saver(state, window, context, anytime=hooks.anytime, validate=validate)
        self.threads = ThreadTuner(context.threads) if self.timed and context.threads is not None else None
        self.watch = Stopwatch[float](context.device)
        self.replan, self.reported = hooks.replan, time.monotonic()
        self.factor = state.stepper.optimizer.factor(plan.lr_range[1])
        self.loss: Tensor | None = None

    def run(self) -> TrainingSummary:
        """Train until the end of the window."""
        state, budget = self.state, self.budget
        budget.reserve("norms", state.norm_images * state.plan.times.train)  # a pass in training mode, at most
        ended = "budget"
        with self.grace if self.hooks.anytime else nullcontext():
            while self.grace.remaining and not self.ended and self._step():
                if self.loss is None:
                    continue
                if self._revises_plan():
                    return self._release(REPLAN)
                self._report()
                if self._stops():
                    ended = "patience"
                    break
                self._save()
            if self.loss is not None:
                self.saver.roll_back(self.loss)
            if self.grace.started:
                self.saver.snapshots.save(state.usable)
                self.context.log("SIGTERM: annealed the learning rate and saved a snapshot")
                raise KeyboardInterrupt
        return self._finish(ended)

    def _step(self) -> bool:
        """Train one step if it fits; False at the end of the window. After out of memory, the loss is None."""
        state, window = self.state, self.window
        stage = self.stage = self.schedule(window.fraction)
        state.enter(stage)
        costs = state.step_cost
        cost = costs[self.budget.unit]
        pending = self.watch.pending * cost if self.timed else 0.0  # launched, but not finished
        if window.remaining < pending + (cost if self.timed else cost / 2):
            return False
        first, last = state.plan.lr_range
        fraction = first + (last - first) * window.ahead(pending + cost / 2)
        self.factor = self.grace.remaining * state.stepper.optimizer.factor(fraction)
        with self.watch(state.growth.work, self._add_time):
            self.loss = self.rank0.step(stage, self.factor, fraction=fraction)
        if self.loss is None:
            self.watch.reset()
            return True
        self.budget.charge(epochs=costs["epochs"], flops=costs["flops"])
        self.budget.slowdown = state.timer.slowdown
        self.budget.seconds_per_pass = state.predict_seconds * self.budget.slowdown
        self.budget.reserve("uneven steps", state.timer.excess)
        return True

    def _add_time(self, work: float, seconds: float, busy: float) -> None:
        """Add the wall-clock and processor seconds of a step."""
        threads, timer = self.threads, self.state.timer
        if threads is not None and threads.is_trying:
            timer.add_trial(work, seconds)
        else:
            alone = threads is not None and threads.count == 1
            timer.add(work, seconds, min(seconds, busy) if alone else None)
        if threads is not None:
            threads.add(work, seconds, busy)

    def _revises_plan(self) -> bool:
        """Whether training ends here to be planned again.

        Only steps of the whole network show whether the plan is right, as time is not proportional to FLOPs.
        """
        state, fraction = self.state, self.window.fraction
        reliable = self.timed and state.growth.work == 1 and state.timer.is_reliable(1.0)
        if self.replan is None or not reliable or fraction < _CHECK_AT:
            return False
        replan, self.replan = self.replan, None
        ratio = state.time_ratio
        return fraction < 2 * _CHECK_AT and max(ratio, 1 / ratio) > _MAX_RATIO and replan(ratio)

    def _report(self) -> None:
        if time.monotonic() - self.reported > _REPORT_SECONDS and self.loss is not None:
            self.reported = time.monotonic()
            values = {"loss": self.loss.item(), "learning_rate": self.factor, **self.state.values}
            self.context.on_progress("train", self.window.fraction, values)

    def _stops(self) -> bool:
        """Whether early stopping ends the training; only the whole network is scored."""
        if self.stage != Stage():
            return False
        stops = self.early_stopping.should_stop(self.state.model, self.window)
        if (score := self.early_stopping.take_latest()) is not None:
            self._report_validation({"validation": score})
        return stops

    def _report_validation(self, values: dict[str, float]) -> None:
        if values:
            self.context.on_progress("train", self.window.fraction, {**values, **self.state.values})

    def _save(self) -> None:
        """Save what is due; if training diverged, continue from an earlier state."""
        if self.loss is None or self.grace.started or not self.saver.due():
            return
        if not self.saver.save(self.loss, patience=self.early_stopping.state()):
            self.loss = None
        self._report_validation(self.saver.take_validation())

    def _finish(self, ended: str) -> TrainingSummary:
        state = self.state
        state.enter(Stage())  # in case a stalled machine skipped the last stage
        self.saver.end(patience=self.early_stopping.state())
        stopping = self.early_stopping
        if not (stopping.is_current(self.window.fraction) and stopping.restore_best(state.model.module)):
            state.finish()
        rate = state.stepper.optimizer.factor(state.plan.lr_range[1])
        summary = self._release(ended)
        self.context.on_progress("train", 1.0, {"learning_rate": rate, "epoch": state.epoch})
        return summary

    def _release(self, ended: str) -> TrainingSummary:
        """Release the reserves, and return the summary."""
        self.budget.release("norms")
        self.budget.release("uneven steps")
        return self.state.summary(self.factor, ended)
