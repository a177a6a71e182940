"""Exponential moving average (EMA) of the weights: improves a model like a lower learning rate, without extra steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

# Length of the average as a fraction of the steps so far, by learning-rate schedule. Models of an "anytime" training
# are used while its learning rate is still high.
EMA_FRACTIONS = {"deadline": 0.05, "anytime": 0.1}


class WeightAverage:
    """Exponential average of weights and batch-norm statistics whose length is a fixed fraction of the steps so far.

    Because the length grows with training (Karras et al. 2024, power-function averaging), the number of steps need not
    be known in advance, and the noisy first steps are forgotten. The average is updated every `every` steps.
    """

    def __init__(self, module: nn.Module, *, fraction: float = EMA_FRACTIONS["deadline"], every: int = 2) -> None:
        self.fraction, self.every, self.steps = fraction, every, 0
        self.values = {name: value.clone() for name, value in _floating(module).items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Include the weights after one more step."""
        self.steps += 1
        if self.steps % self.every:
            return
        weight = min(1.0, self.every / (self.fraction * self.steps))
        for name, value in _floating(module).items():
            self.values[name].lerp_(value, weight)

    def state(self) -> dict[str, Any]:
        """The state for `restore`."""
        return {"steps": self.steps, "values": self.values}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a saved state, possibly of another width."""
        self.steps = state["steps"]
        self.values = {name: saved.to(self.values[name].device, copy=True) for name, saved in state["values"].items()}

    @torch.no_grad()
    def apply(self, module: nn.Module) -> None:
        """Copy the averaged weights into the module."""
        for name, value in _floating(module).items():
            value.copy_(self.values[name])


def _floating(module: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in module.state_dict().items() if value.is_floating_point()}
