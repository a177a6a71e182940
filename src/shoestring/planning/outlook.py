"""What a training would be like: its network, its stages with the speed of each, how often it would see each image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from shoestring.budget import Window
from shoestring.growth.compose import stages_of
from shoestring.runtime.device import out_of_memory, synchronize
from shoestring.runtime.timing import min_seconds
from shoestring.training.progress import Progress
from shoestring.training.setup import growth_of

_TIMED = 0.01  # share of a time budget that goes into timing all stages


@dataclass(frozen=True)
class Phase:
    """One stage: shares of the whole problem and of the training, pixels a side, speed as timed, passes and steps."""

    width: float
    depth: float
    side: int
    share: float
    images_a_second: float | None  # None where time does not count, and nothing is timed
    passes: float
    steps: int


@dataclass(frozen=True)
class Outlook:
    """The plan of a training; `length` is in the unit of the budget."""

    network: str
    options: dict[str, Any]
    parameters: int
    macs: int  # of one image
    grow: str
    precision: str
    optimizer: str
    batch_size: int
    length: float
    phases: list[Phase]

    @property
    def passes(self) -> float:
        """How often each image would be seen."""
        return sum(phase.passes for phase in self.phases)


def look_ahead(state: Progress, window: Window) -> Outlook:
    """Take a training that is ready to start through all stages, timing a step of each; nothing is learned.

    The training cannot be continued afterwards.
    """
    stages, length, budget = stages_of(growth_of(state.plan)), window.remaining, window.budget
    limit = _TIMED * budget.total / len(stages)
    phases = []
    for stage, share in stages.items():
        state.enter(stage)
        timed = budget.unit == "seconds"
        price = _seconds(state, limit) if timed else state.price[budget.unit]
        size, now = state.batches.size, state.stages
        steps, speed = share * length / price, size / price if timed else None
        passes = steps * size / len(state.batches)
        phases.append(Phase(now.width, now.depth, now.side, share, speed, passes, round(steps)))
    model, plan = state.model, state.plan
    parameters = sum(weight.numel() for weight in model.module.parameters())
    sizes = (parameters, round(state.stages.macs), plan.grow, plan.precision, plan.optimizer, state.batches.size)
    return Outlook(model.name, dict(model.options), *sizes, length, phases)


def _seconds(state: Progress, limit: float) -> float:
    """Seconds of a step; of half of the images, as training would halve them, while the memory does not suffice."""
    try:
        for _ in range(0 if state.stepper.replay is None else state.stepper.replay.warmup_calls):
            _step(state)
        return min_seconds(partial(_step, state), limit)
    except RuntimeError as error:
        if state.batches.size == 1 or not out_of_memory(error):
            raise
    state.halve()
    return _seconds(state, limit)


def _step(state: Progress) -> None:
    state.step(0.0)
    synchronize(state.batches.pixels.device)
