"""A training that goes astray goes back: to a state from before, with half of the learning rate from there on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from shoestring.errors import UserError
from shoestring.training.progress import Progress

_EVERY = 0.05  # share of the training between two states that are kept
_TIMES = 3


class Rescue:
    """Two states in memory, some time apart: the newer one may have been on its way to trouble already.

    They are kept by the fraction spent, not by the clock, so that a counted training can be repeated exactly.
    """

    def __init__(self, progress: Progress, log: Callable[[str], None]) -> None:
        self._older = self._newer = _copied(progress.pack())
        self._log = log
        self._next = _EVERY

    def keep(self, progress: Progress, fraction: float) -> None:
        """Take a state that is well, when it is time for the next one."""
        if fraction >= self._next:
            self._older, self._newer, self._next = self._newer, _copied(progress.pack()), fraction + _EVERY

    def stray(self, loss: Tensor, progress: Progress) -> bool:
        """Whether the loss or the weights were no numbers any more: then the state is now one from before.

        Raises `UserError` when this has happened three times already.
        """
        value = loss.item()
        if math.isfinite(value) and _finite(progress):
            return False
        if progress.stepper.setbacks == _TIMES:
            raise UserError(f"training diverged (the loss is {value}). Use a lower --learning-rate.")
        setbacks = progress.stepper.setbacks + 1
        progress.unpack(_copied(self._older))
        progress.stepper.setbacks = setbacks
        self._newer = self._older
        self._log(f"the loss is {value}: back to step {progress.steps}, with half of the learning rate")
        return True


def _finite(progress: Progress) -> bool:
    return bool(torch.stack([weight.detach().sum() for weight in progress.model.module.parameters()]).isfinite().all())


def _copied(packed: dict[str, Any]) -> dict[str, Any]:
    """The same in ordinary memory, where the training does not reach it."""
    return tree_map(lambda value: value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value, packed)
