"""Rules that move weights by their gradients: what all have in common, SGD with Nesterov momentum, and AdamW.

The arithmetic is torch's. Its optimisers are not used, because making one loads torch's compiler, which takes seconds
of every training.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

_FUSED = ("cpu", "cuda")  # devices where torch is asked to move all weights in one go


class Rule(ABC):
    """Groups of weights with their settings, and what is remembered of each weight.

    `param_groups` and `state` hold what they hold in `torch.optim`, and channel surgery carries them along.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], **usual: Any) -> None:
        self.param_groups = [{**usual, **group} for group in groups]
        self.state: dict[Tensor, dict[str, Any]] = {}

    @torch.no_grad()
    def step(self, factor: float | Tensor = 1.0) -> None:
        """Move all weights that have a gradient, at this factor of their learning rates."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            for weight in weights:
                if weight not in self.state:
                    self.state[weight] = self._start(weight, group)
            if weights:
                self._move(weights, group, group["lr"] * factor)

    @abstractmethod
    def _start(self, weight: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """What is remembered of a weight before its first step."""

    @abstractmethod
    def _move(self, weights: list[Tensor], group: dict[str, Any], rate: float | Tensor) -> None:
        """Move these weights of a group."""

    def clear(self) -> None:
        """Forget the gradients."""
        for group in self.param_groups:
            for weight in group["params"]:
                weight.grad = None

    def state_dict(self) -> list[dict[str, Any]]:
        """What is remembered, in the order of the weights."""
        return [self.state.get(weight, {}) for weight in self._weights()]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Restore what `state_dict` gave."""
        self.state = {weight: _copied(saved, weight) for weight, saved in zip(self._weights(), states) if saved}

    def _weights(self) -> list[Tensor]:
        return [weight for group in self.param_groups for weight in group["params"]]

    def _remembered(self, weights: list[Tensor], name: str) -> list[Tensor]:
        """One tensor of each weight, lying in memory as the weight does: surgery may have left it otherwise."""
        for weight in weights:
            found = self.state[weight][name]
            if found.stride() != weight.stride():
                self.state[weight][name] = torch.empty_like(weight).copy_(found)
        return [self.state[weight][name] for weight in weights]


def _copied(saved: dict[str, Any], weight: Tensor) -> dict[str, Any]:
    found = dict(saved)
    for name, value in saved.items():
        if isinstance(value, Tensor):
            found[name] = value.to(weight.device if value.ndim else _counting(weight), copy=True)
    return found


def _counting(weight: Tensor) -> torch.device:
    """Where torch wants the number of steps of a weight: it reads it in Python where it does not move all in one go."""
    return weight.device if weight.device.type in _FUSED else torch.device("cpu")


class SGD(Rule):
    """Stochastic gradient descent with Nesterov momentum; weight decay is part of the gradient."""

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, *, momentum: float = 0.9) -> None:
        super().__init__(groups, lr=lr, momentum=momentum, weight_decay=0.0)

    def _start(self, weight: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"momentum_buffer": torch.zeros_like(weight)}

    def _move(self, weights: list[Tensor], group: dict[str, Any], rate: float | Tensor) -> None:
        sgd(
            weights,
            _gradients(weights),
            list(self._remembered(weights, "momentum_buffer")),
            fused=weights[0].device.type in _FUSED or None,
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=rate,
            dampening=0.0,
            nesterov=True,
            maximize=False,
        )


class AdamW(Rule):
    """Adam whose weight decay is apart from the gradient (Loshchilov & Hutter 2019)."""

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, *, betas: tuple[float, float] = (0.9, 0.999)):
        super().__init__(groups, lr=lr, betas=betas, weight_decay=0.0)

    def _start(self, weight: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        steps = torch.zeros((), dtype=torch.float32, device=_counting(weight))
        return {"step": steps, "exp_avg": torch.zeros_like(weight), "exp_avg_sq": torch.zeros_like(weight)}

    def _move(self, weights: list[Tensor], group: dict[str, Any], rate: float | Tensor) -> None:
        device = weights[0].device.type
        first, second = group["betas"]
        adamw(
            weights,
            _gradients(weights),
            self._remembered(weights, "exp_avg"),
            self._remembered(weights, "exp_avg_sq"),
            [],
            [self.state[weight]["step"] for weight in weights],
            fused=device in _FUSED or None,
            capturable=device == "cuda",
            amsgrad=False,
            beta1=first,
            beta2=second,
            lr=rate,
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )


def _gradients(weights: list[Tensor]) -> list[Tensor]:
    """Lying in memory as the weights do."""
    found = []
    for weight in weights:
        assert weight.grad is not None
        alike = weight.grad.stride() == weight.stride()
        found.append(weight.grad if alike else torch.empty_like(weight).copy_(weight.grad))
    return found
