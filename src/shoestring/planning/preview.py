"""Preview of a training: network, and throughput, epochs and steps of each growth stage."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from shoestring.budget import Window
from shoestring.evaluation.cost import count_params
from shoestring.growth.compose import stages_of
from shoestring.runtime.device import out_of_memory, synchronize
from shoestring.runtime.timing import min_seconds
from shoestring.training.progress import TrainingState
from shoestring.training.setup import growth_of

_TIMING_FRACTION = 0.01  # of a time budget, for timing all stages


@dataclass(frozen=True)
class StagePreview:
    """A growth stage: fractions of the network (`width`, `depth`) and of the training, and image size in pixels."""

    width: float
    depth: float
    side: int
    fraction: float
    images_per_second: float | None  # None if the budget is not a time, and nothing is timed
    epochs: float
    steps: int


@dataclass(frozen=True)
class TrainingPreview:
    """Preview of a training; `length` is in the unit of the budget."""

    network: str
    options: dict[str, Any]
    parameters: int
    macs: int  # of one image
    grow: str
    precision: str
    optimizer: str
    batch_size: int
    length: float
    phases: list[StagePreview]

    @property
    def epochs(self) -> float:
        """Epochs of the whole training."""
        return sum(phase.epochs for phase in self.phases)


def preview_training(state: TrainingState, window: Window) -> TrainingPreview:
    """Preview a prepared training: enter all stages and time a step of each, with learning rate 0.

    Do not continue the training afterwards.
    """
    stages, length, budget = stages_of(growth_of(state.plan)), window.remaining, window.budget
    limit = _TIMING_FRACTION * budget.total / len(stages)
    phases = []
    for stage, fraction in stages.items():
        state.enter(stage)
        timed = budget.unit == "seconds"
        cost = _step_seconds(state, limit) if timed else state.step_cost[budget.unit]
        size, current = state.batches.size, state.growth
        steps, rate = fraction * length / cost, size / cost if timed else None
        epochs = steps * size / len(state.batches)
        phases.append(StagePreview(current.width, current.depth, current.side, fraction, rate, epochs, round(steps)))
    model, plan = state.model, state.plan
    parameters = count_params(model.module)
    settings = (str(plan.grow), plan.precision, plan.optimizer, state.batches.size)
    macs = round(state.growth.macs)
    return TrainingPreview(model.name, dict(model.options), parameters, macs, *settings, length, phases)


def _step_seconds(state: TrainingState, limit: float) -> float:
    """Seconds of a step; if memory runs out, the batch size is halved, as in training."""
    try:
        for _ in range(0 if state.stepper.replay is None else state.stepper.replay.warmup_calls):
            _step(state)
        return min_seconds(partial(_step, state), limit)
    except RuntimeError as error:
        if state.batches.size == 1 or not out_of_memory(error):
            raise
    state.halve_batch_size()
    return _step_seconds(state, limit)


def _step(state: TrainingState) -> None:
    state.step(0.0)
    synchronize(state.batches.pixels.device)
