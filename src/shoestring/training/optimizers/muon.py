"""Muon: momentum whose update is made orthogonal, for weights that are matrices (Jordan et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from shoestring.training.optimizers.rules import Rule

# Quintic iteration x -> a x + b x^3 + c x^5 that drives singular values near one fastest (Jordan et al. 2024).
_QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 3
_WIDE = 2  # columns for each row from which the square is less work


def orthogonalise(matrix: Tensor, steps: int = ITERATIONS) -> Tensor:
    """The nearest semi-orthogonal matrix (R, C), approximately, by Newton-Schulz iteration."""
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    wide = x.dtype == torch.float32 and x.shape[1] >= _WIDE * x.shape[0]
    x = _by_its_square(x, steps) if wide else _directly(x, steps)
    return x.T if tall else x


def working(matrix: Tensor) -> Tensor:
    """The matrix in the precision that it is made orthogonal in: low where that is much faster, on accelerators."""
    return matrix.to(torch.bfloat16 if matrix.is_cuda else torch.float32)


def _by_its_square(x: Tensor, steps: int) -> Tensor:
    """All steps on the small matrix x x^T, whose polynomials commute, and one product with x.

    Half of the work for the filters of a 3x3 convolution.
    """
    a, b, c = _QUINTIC
    square, all_steps = x @ x.T, None
    for left in reversed(range(steps)):
        step = torch.addmm(square, square, square, beta=b, alpha=c)
        step.diagonal().add_(a)
        all_steps = step if all_steps is None else step @ all_steps
        if left:
            square = step @ square @ step
    return x if all_steps is None else all_steps @ x


def _directly(x: Tensor, steps: int) -> Tensor:
    """One step after the other: in low precision the square would lose what is small in x."""
    a, b, c = _QUINTIC
    for _ in range(steps):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x


class Muon(Rule):
    """Nesterov momentum, orthogonalised; a convolution counts as the matrix (filters, inputs x height x width).

    With `fixed_norm` each weight keeps the norm that it has: right where a normalisation follows, which makes the scale
    of the weights meaningless. The learning rate is the size of a step then, relative to a weight whose singular values
    are all alike. Elsewhere weights decay, and so do those that start at zero: they have no norm to keep.
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

    def _start(self, weight: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        fixed = group["fixed_norm"] and bool(weight.any())
        return {"momentum_buffer": torch.zeros_like(weight), "fixed_norm": fixed}

    def _move(self, weights: list[Tensor], group: dict[str, Any], rate: float | Tensor) -> None:
        for weight in weights:
            assert weight.grad is not None
            self._update(weight, weight.grad, group, rate)

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any], rate: float | Tensor) -> None:
        state = self.state[weight]
        velocity = state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
        ahead = gradient.add(velocity, alpha=group["momentum"])
        matrix = ahead.reshape(len(ahead), -1)
        step = orthogonalise(working(matrix)).to(weight.dtype).reshape(weight.shape)
        if state["fixed_norm"]:
            norm = weight.norm()
            weight.sub_(step * (norm * rate / len(weight) ** 0.5))
            weight.mul_(norm / weight.norm())
        else:
            weight.mul_(1 - rate * group["weight_decay"])
            weight.sub_(step * (rate * max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5))
