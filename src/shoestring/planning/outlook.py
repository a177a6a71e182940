"""What a training would be like: its network, its stages with the speed of each, how often it would see each image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from shoestring.budget import Window
from shoestring.growth import Schedule
from shoestring.growth.compose import stages_of
from shoestring.runtime.device import out_of_memory, synchronize
from shoestring.runtime.timing import min_seconds
from shoestring.training.state import State

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
    optimiser: str
    batch_size: int
    length: float
    phases: list[Phase]

    @property
    def passes(self) -> float:
        """How often each image would be seen."""
        return sum(phase.passes for phase in self.phases)


def look_ahead(state: State, schedule: Schedule, window: Window) -> Outlook:
    """Take a state that is ready to be trained through all stages, timing a step of each; nothing is learnt.

    The state is of no use for training afterwards.
    """
    stages, length, budget = stages_of(schedule), window.remaining, window.budget
    limit = _TIMED * budget.total / len(stages)
    phases = []
    for stage, share in stages.items():
        state.grow(stage)
        timed = budget.unit == "seconds"
        price = _seconds(state, limit) if timed else state.price[budget.unit]
        size = state.batches.size
        steps, speed = share * length / price, size / price if timed else None
        passes = steps * size / len(state.batches)
        phases.append(Phase(state.width, state.depth, state.side, share, speed, passes, round(steps)))
    module, optimiser = state.model.module, state.optimiser.name
    parameters = sum(weight.numel() for weight in module.parameters())
    sizes = (parameters, round(state.macs), schedule.text, state.speed.precision, optimiser, state.batches.size)
    return Outlook(state.model.name, dict(state.model.options), *sizes, length, phases)


def _seconds(state: State, limit: float) -> float:
    """Seconds of a step; of half of the images, as training would halve them, while the memory does not suffice."""
    try:
        for _ in range(0 if state.replay is None else state.replay.warmup_calls):
            _step(state)
        return min_seconds(partial(_step, state), limit)
    except RuntimeError as error:
        if state.batches.size == 1 or not out_of_memory(error):
            raise
    state.halve()
    return _seconds(state, limit)


def _step(state: State) -> None:
    state.step(0.0, smoothing=0.0)
    synchronize(state.batches.pixels.device)
