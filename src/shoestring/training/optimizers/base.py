"""Base class of the optimizers.

The arithmetic is PyTorch's, but not its optimizer classes: creating one loads the compiler, which takes seconds of
every training.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

FUSED_DEVICES = ("cpu", "cuda")  # where PyTorch's fused kernels are used


class Optimizer(ABC):
    """Parameter groups with their options, and the state of each weight.

    `param_groups` and `state` are as in `torch.optim`; channel surgery updates them too.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], **defaults: Any) -> None:
        self.param_groups = [{**defaults, **group} for group in groups]
        self.state: dict[Tensor, dict[str, Any]] = {}

    @torch.no_grad()
    def step(self, factor: float | Tensor = 1.0) -> None:
        """Update all weights that have a gradient, at this factor of their learning rates."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            for weight in weights:
                if weight not in self.state:
                    self.state[weight] = self._initial_state(weight, group)
            if weights:
                self._update(weights, group, group["lr"] * factor)

    @abstractmethod
    def _initial_state(self, weight: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """State of a weight before its first step."""

    @abstractmethod
    def _update(self, weights: list[Tensor], group: dict[str, Any], rate: float | Tensor) -> None:
        """Update these weights of a group."""

    def zero_grad(self) -> None:
        """Set all gradients to None."""
        for group in self.param_groups:
            for weight in group["params"]:
                weight.grad = None

    def state_dict(self) -> list[dict[str, Any]]:
        """State of each weight, in the order of the weights."""
        return [self.state.get(weight, {}) for weight in self._weights()]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Restore the result of `state_dict`."""
        self.state = {weight: _moved(saved, weight) for weight, saved in zip(self._weights(), states) if saved}

    def _weights(self) -> list[Tensor]:
        return [weight for group in self.param_groups for weight in group["params"]]

    def _buffers(self, weights: list[Tensor], name: str) -> list[Tensor]:
        """A state tensor of each weight, in the memory format of the weight, which surgery may have changed."""
        for weight in weights:
            buffer = self.state[weight][name]
            if buffer.stride() != weight.stride():
                self.state[weight][name] = torch.empty_like(weight).copy_(buffer)
        return [self.state[weight][name] for weight in weights]


def _moved(saved: dict[str, Any], weight: Tensor) -> dict[str, Any]:
    state = dict(saved)
    for name, value in saved.items():
        if isinstance(value, Tensor):
            state[name] = value.to(weight.device if value.ndim else step_device(weight), copy=True)
    return state


def step_device(weight: Tensor) -> torch.device:
    """Device on which PyTorch needs the step count of a weight: the CPU where there is no fused kernel."""
    return weight.device if weight.device.type in FUSED_DEVICES else torch.device("cpu")


def gradients(weights: list[Tensor]) -> list[Tensor]:
    """The gradients, in the memory format of the weights."""
    result = []
    for weight in weights:
        assert weight.grad is not None
        same_format = weight.grad.stride() == weight.stride()
        result.append(weight.grad if same_format else torch.empty_like(weight).copy_(weight.grad))
    return result
