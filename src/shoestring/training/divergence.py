"""Recovery from divergence: training goes back to an earlier state and continues with half the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from shoestring.errors import UserError
from shoestring.training.progress import TrainingState

_INTERVAL = 0.05  # fraction of the training between two states
_MAX_ROLLBACKS = 3


class DivergenceGuard:
    """Holds two states in memory, some time apart: the newer one may already have been about to diverge.

    They are taken by the fraction of the budget spent, not by the clock, so that a counted training is reproducible.
    """

    def __init__(self, state: TrainingState, log: Callable[[str], None]) -> None:
        self._older = self._newer = _on_cpu(state.pack())
        self._log = log
        self._next = _INTERVAL

    def save(self, state: TrainingState, fraction: float) -> None:
        """Copy a state that is finite, if the next one is due."""
        if fraction >= self._next:
            self._older, self._newer, self._next = self._newer, _on_cpu(state.pack()), fraction + _INTERVAL

    def roll_back(self, loss: Tensor, state: TrainingState) -> bool:
        """Restore an earlier state if the loss or a weight is not finite; returns whether that was so.

        Raises `UserError` if training has been rolled back three times already.
        """
        value = loss.item()
        if math.isfinite(value) and _is_finite(state):
            return False
        if state.stepper.rollbacks == _MAX_ROLLBACKS:
            raise UserError(f"training diverged (the loss is {value}). Use a lower --learning-rate.")
        rollbacks = state.stepper.rollbacks + 1
        state.unpack(_on_cpu(self._older))
        state.stepper.rollbacks = rollbacks
        self._newer = self._older
        self._log(f"the loss is {value}: back to step {state.steps}, with half the learning rate")
        return True


def _is_finite(state: TrainingState) -> bool:
    return bool(torch.stack([weight.detach().sum() for weight in state.model.module.parameters()]).isfinite().all())


def _on_cpu(state: dict[str, Any]) -> dict[str, Any]:
    """A copy in host memory, which training does not modify."""
    return tree_map(lambda value: value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value, state)
