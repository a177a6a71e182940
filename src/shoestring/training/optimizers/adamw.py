"""AdamW (Loshchilov & Hutter 2019)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from shoestring.training.optimizers.base import FUSED_DEVICES, Optimizer, gradients, step_device


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, *, betas: tuple[float, float] = (0.9, 0.999)):
        super().__init__(groups, lr=lr, betas=betas, weight_decay=0.0)

    def _initial_state(self, weight: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        steps = torch.zeros((), dtype=torch.float32, device=step_device(weight))
        return {"step": steps, "exp_avg": torch.zeros_like(weight), "exp_avg_sq": torch.zeros_like(weight)}

    def _update(self, weights: list[Tensor], group: dict[str, Any], rate: float | Tensor) -> None:
        device = weights[0].device.type
        first, second = group["betas"]
        adamw(
            weights,
            gradients(weights),
            self._buffers(weights, "exp_avg"),
            self._buffers(weights, "exp_avg_sq"),
            [],
            [self.state[weight]["step"] for weight in weights],
            fused=device in FUSED_DEVICES or None,
            capturable=device == "cuda",
            amsgrad=False,
            beta1=first,
            beta2=second,
            lr=rate,
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )
