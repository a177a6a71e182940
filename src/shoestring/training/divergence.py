"""A training that goes astray goes back: to a state from before, with half of the learning rate from there on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from shoestring.errors import UserError
from shoestring.training.state import State

_EVERY = 0.05  # share of the training between two states that are kept
_TIMES = 3


class Rescue:
    """Two states in memory, some time apart: the newer one may have been on its way to trouble already.

    They are kept by the fraction spent, not by the clock, so that a counted training can be repeated exactly.
    """

    def __init__(self, state: State, log: Callable[[str], None]) -> None:
        self._older = self._newer = _copied(state.pack())
        self._log = log
        self._next = _EVERY

    def keep(self, state: State, fraction: float) -> None:
        """Take a state that is well, when it is time for the next one."""
        if fraction >= self._next:
            self._older, self._newer, self._next = self._newer, _copied(state.pack()), fraction + _EVERY

    def stray(self, loss: Tensor, state: State) -> bool:
        """Whether the loss or the weights were no numbers any more: then the state is now one from before.

        Raises `UserError` when this has happened three times already.
        """
        value = loss.item()
        if math.isfinite(value) and _finite(state):
            return False
        if state.setbacks == _TIMES:
            raise UserError(f"training diverged (the loss is {value}). Use a lower --learning-rate.")
        setbacks = state.setbacks + 1
        state.unpack(_copied(self._older))
        state.setbacks = setbacks
        self._newer = self._older
        self._log(f"the loss is {value}: back to step {state.steps}, with half of the learning rate")
        return True


def _finite(state: State) -> bool:
    return bool(torch.stack([weight.detach().sum() for weight in state.model.module.parameters()]).isfinite().all())


def _copied(packed: dict[str, Any]) -> dict[str, Any]:
    """The same in ordinary memory, where the training does not reach it."""
    return tree_map(lambda value: value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value, packed)
