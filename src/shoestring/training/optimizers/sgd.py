"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.sgd import sgd

from shoestring.training.optimizers.base import FUSED_DEVICES, Optimizer, gradients


class SGD(Optimizer):
    """Stochastic gradient descent with Nesterov momentum; weight decay is added to the gradient."""

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, *, momentum: float = 0.9) -> None:
        super().__init__(groups, lr=lr, momentum=momentum, weight_decay=0.0)

    def _initial_state(self, weight: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"momentum_buffer": torch.zeros_like(weight)}

    def _update(self, weights: list[Tensor], group: dict[str, Any], rate: float | Tensor) -> None:
        sgd(
            weights,
            gradients(weights),
            list(self._buffers(weights, "momentum_buffer")),
            fused=weights[0].device.type in FUSED_DEVICES or None,
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=rate,
            dampening=0.0,
            nesterov=True,
            maximize=False,
        )
