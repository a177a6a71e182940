"""Average of the weights over the last part of training: as good as a smaller learning rate, at no cost in steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

# Share of the steps so far that the memory takes. An anytime training is looked at on its way, where the rate is high.
AVERAGED = {"deadline": 0.05, "anytime": 0.1}


class Average:
    """Exponential average of weights and batch-norm statistics whose memory is a fixed share of the steps so far.

    Because the memory grows with training (Karras et al. 2024, power-function averaging), no number of steps has to be
    known beforehand, and the noisy beginning is forgotten.
    """

    def __init__(self, module: nn.Module, *, share: float = AVERAGED["deadline"], every: int = 2) -> None:
        self.share, self.every, self.steps = share, every, 0
        self.values = {name: value.clone() for name, value in _floating(module).items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take the weights after one more step in."""
        self.steps += 1
        if self.steps % self.every:
            return
        weight = min(1.0, self.every / (self.share * self.steps))
        for name, value in _floating(module).items():
            self.values[name].lerp_(value, weight)

    def state(self) -> dict[str, Any]:
        """What `restore` needs."""
        return {"steps": self.steps, "values": self.values}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state taken before, perhaps of another width."""
        self.steps = state["steps"]
        self.values = {name: saved.to(self.values[name].device, copy=True) for name, saved in state["values"].items()}

    @torch.no_grad()
    def apply(self, module: nn.Module) -> None:
        """Give the module the averaged weights."""
        for name, value in _floating(module).items():
            value.copy_(self.values[name])


def _floating(module: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in module.state_dict().items() if value.is_floating_point()}
