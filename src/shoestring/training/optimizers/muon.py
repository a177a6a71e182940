"""Muon: momentum with orthogonalized updates, for weight matrices (Jordan et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from shoestring.training.optimizers.base import Optimizer

# Coefficients of the iteration x -> a x + b x^3 + c x^5, which brings singular values close to one fastest (Jordan et
# al. 2024).
_QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 3
_WIDE = 2  # ratio of columns to rows from which iterating on x x^T takes fewer operations


def orthogonalize(matrix: Tensor, steps: int = ITERATIONS) -> Tensor:
    """Approximate the nearest semi-orthogonal matrix (R, C) by Newton-Schulz iteration."""
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    wide = x.dtype == torch.float32 and x.shape[1] >= _WIDE * x.shape[0]
    x = _iterate_on_square(x, steps) if wide else _iterate(x, steps)
    return x.T if tall else x


def to_working_precision(matrix: Tensor) -> Tensor:
    """Cast a matrix to the precision for `orthogonalize`: bfloat16 on CUDA devices, where it is much faster."""
    return matrix.to(torch.bfloat16 if matrix.is_cuda else torch.float32)


def _iterate_on_square(x: Tensor, steps: int) -> Tensor:
    """All steps on the small matrix x x^T, whose polynomials commute, and one product with x.

    Takes half the operations for the filters of a 3x3 convolution.
    """
    a, b, c = _QUINTIC
    square, all_steps = x @ x.T, None
    for remaining in reversed(range(steps)):
        step = torch.addmm(square, square, square, beta=b, alpha=c)
        step.diagonal().add_(a)
        all_steps = step if all_steps is None else step @ all_steps
        if remaining:
            square = step @ square @ step
    return x if all_steps is None else all_steps @ x


def _iterate(x: Tensor, steps: int) -> Tensor:
    """Iterate on x itself: in low precision the square would lose small values of x."""
    a, b, c = _QUINTIC
    for _ in range(steps):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x


class Muon(Optimizer):
    """Orthogonalized Nesterov momentum; a convolution is treated as a matrix (filters, inputs x height x width).

    With `fixed_norm` each weight keeps its norm, which is right before a normalization layer, where the scale of the
    weights has no effect. The learning rate is then the size of a step relative to a weight with equal singular values.
    Other weights decay, and so do those that start at zero, which have no norm to keep.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.05,
        *,
        momentum: float = 0.6,
        weight_decay: float = 0.0,
        fixed_norm: bool = True,
    ) -> None:
        settings = {"momentum": momentum, "weight_decay": weight_decay, "fixed_norm": fixed_norm}
        super().__init__([{"params": list(params)}], lr=lr, **settings)

    def _initial_state(self, weight: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        fixed = group["fixed_norm"] and bool(weight.any())
        return {"momentum_buffer": torch.zeros_like(weight), "fixed_norm": fixed}

    def _update(self, weights: list[Tensor], group: dict[str, Any], rate: float | Tensor) -> None:
        for weight in weights:
            assert weight.grad is not None
            self._update_weight(weight, weight.grad, group, rate)

    def _update_weight(self, weight: Tensor, gradient: Tensor, group: dict[str, Any], rate: float | Tensor) -> None:
        state = self.state[weight]
        velocity = state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
        nesterov = gradient.add(velocity, alpha=group["momentum"])
        matrix = nesterov.reshape(len(nesterov), -1)
        step = orthogonalize(to_working_precision(matrix)).to(weight.dtype).reshape(weight.shape)
        if state["fixed_norm"]:
            norm = weight.norm()
            weight.sub_(step * (norm * rate / len(weight) ** 0.5))
            weight.mul_(norm / weight.norm())
        else:
            weight.mul_(1 - rate * group["weight_decay"])
            weight.sub_(step * (rate * max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5))
