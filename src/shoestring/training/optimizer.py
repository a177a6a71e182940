"""The optimizer of a training: which of its parts updates which weight, and its learning-rate schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from shoestring.config.plan import TrainPlan
from shoestring.errors import UserError
from shoestring.models.heads import head_weights
from shoestring.models.model import Model
from shoestring.runtime.cuda_graph import synchronous
from shoestring.runtime.timing import min_seconds
from shoestring.training.fine_tuning import rate_factors
from shoestring.training.optimizers.adamw import AdamW
from shoestring.training.optimizers.base import Optimizer
from shoestring.training.optimizers.muon import ITERATIONS, Muon, orthogonalize, to_working_precision
from shoestring.training.optimizers.sgd import SGD

_NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
# Default peak learning rate and weight decay of each optimizer.
DEFAULT_RATES = {"muon": (0.2, 0.0), "sgd": (0.1, 5e-4), "adamw": (1e-3, 5e-2)}
_MAX_MATRIX = 1024  # rows or columns, whichever are fewer, up to which orthogonalizing pays
_TIMING_SECONDS = 0.2
_WARM_UP = 0.15  # fraction of the training, for SGD and AdamW
# The schedule "anytime": fractions of the training at the peak and cooling down to zero, and the power of the decay in
# between. With this power intermediate models were closest to trainings that ended there; the square root and a
# constant rate were worse.
_PEAK, _COOL_DOWN, _POWER = 0.1, 0.2, 0.75


class CombinedOptimizer:
    """One or two optimizers with one `step` and one learning-rate factor."""

    def __init__(self, parts: Sequence[Optimizer], *, name: str, warm_up: float, schedule: str = "deadline") -> None:
        self.parts, self.name, self.warm_up, self.schedule = list(parts), name, warm_up, schedule

    def factor(self, fraction: float) -> float:
        """Learning rate over its peak at a fraction of the budget: linear warmup, then decay to zero.

        Linear decay to zero at the end of the budget is best for small budgets (Li et al. 2020). The schedule "anytime"
        decays with a power of the time, like the inverse square root (Zhai et al. 2022), so that averaged weights are
        useful at any time, and cools down to zero in the last fifth, by one minus the square root (Hägele et al. 2024).
        """
        if fraction < self.warm_up:
            return fraction / self.warm_up
        if self.schedule == "anytime":
            peak = max(_PEAK, self.warm_up)
            return (peak / max(fraction, peak)) ** _POWER * (1 - max(1 - (1 - fraction) / _COOL_DOWN, 0.0) ** 0.5)
        return (1 - fraction) / (1 - self.warm_up)

    def step(self, factor: float | Tensor) -> None:
        """Update the weights at this factor of the peak learning rates, and set all gradients to None."""
        for part in self.parts:
            part.step(factor)
        self.zero_grad()

    def zero_grad(self) -> None:
        """Set all gradients to None."""
        for part in self.parts:
            part.zero_grad()

    def state_dict(self) -> list[list[dict[str, Any]]]:
        """State of all parts."""
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[list[dict[str, Any]]]) -> None:
        """Restore the result of `state_dict`."""
        for part, state in zip(self.parts, states):
            part.load_state_dict(state)


def update_seconds(model: Model, optimizer: str) -> float:
    """Seconds per step that do not depend on the batch size: those of Muon, which are not negligible."""
    if optimizer != "muon":
        return 0.0
    matrices = [to_working_precision(weight.detach().flatten(1)) for weight in partition(model)[0]]
    if not matrices:
        return 0.0
    run = synchronous(lambda: [orthogonalize(matrix) for matrix in matrices], matrices[0].device)
    return min_seconds(run, _TIMING_SECONDS)


def update_flops(model: Model, optimizer: str) -> float:
    """FLOPs per step that do not depend on the batch size: those of Muon, as those of the others are negligible."""
    if optimizer != "muon":
        return 0.0
    shapes = [sorted(weight.flatten(1).shape) for weight in partition(model)[0]]
    return sum(ITERATIONS * (4 * short * short * long + 2 * short**3) for short, long in shapes)


def make_optimizer(model: Model, plan: TrainPlan) -> CombinedOptimizer:
    """Create the optimizer of a plan for this model. Raises `UserError` if the model has no trainable weights."""
    matrices, others, vectors = partition(model)
    if not matrices and not others and not vectors:
        raise UserError(f"{model.name} has no weights to train.")
    name, rate, decay, normed = plan.optimizer, plan.learning_rate, plan.weight_decay, has_norms(model.module)
    if name == "muon":
        parts = [Muon(matrices, lr=rate, weight_decay=decay, fixed_norm=normed)] if matrices else []
        ratio = rate / DEFAULT_RATES["muon"][0]
        groups = [
            {"params": vectors, "lr": 0.02 * ratio, "weight_decay": 0.0},
            {"params": others, "lr": 0.004 * ratio, "weight_decay": decay},
        ]
        parts = [*parts, AdamW(groups, lr=0.0, betas=(0.85, 0.95))]
        return CombinedOptimizer(parts, name=name, warm_up=0.0, schedule=plan.schedule)
    if plan.fine_tune is None:
        groups = [
            {"params": [*matrices, *others], "weight_decay": decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
    else:
        groups = _groups_by_rate(model, plan, rate_factors(model, plan.fine_tune))
    optimizer: Optimizer = SGD(groups, lr=rate) if name == "sgd" else AdamW(groups, lr=rate)
    return CombinedOptimizer([optimizer], name=name, warm_up=_WARM_UP, schedule=plan.schedule)


def _groups_by_rate(model: Model, plan: TrainPlan, factors: Mapping[str, float]) -> list[dict[str, Any]]:
    """Parameter groups of equal learning rate and weight decay."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, weight in model.module.named_parameters():
        if weight.requires_grad:
            decay = plan.weight_decay if weight.ndim > 1 else 0.0
            groups.setdefault((plan.learning_rate * factors[name], decay), []).append(weight)
    return [{"params": weights, "lr": rate, "weight_decay": decay} for (rate, decay), weights in groups.items()]


def has_norms(module: nn.Module) -> bool:
    """Whether a network has normalization layers."""
    return any(isinstance(part, _NORMS) for part in module.modules())


def partition(model: Model) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return the trainable weights as (matrices, others, vectors).

    Muon updates the matrices: weights of linear layers and ungrouped convolutions, except heads and very large ones; in
    networks with norms only of layers without a bias, as these usually precede a norm. Others also have more than one
    axis.
    """
    module, heads = model.module, set(head_weights(model.module, model.heads))
    normed, layers = (
        has_norms(module),
        [layer for layer in module.modules() if isinstance(layer, nn.Linear | nn.Conv2d)],
    )
    dense = {
        layer.weight
        for layer in layers
        if layer.weight not in heads
        and getattr(layer, "groups", 1) == 1
        and min(layer.weight.flatten(1).shape) <= _MAX_MATRIX
        and not (normed and layer.bias is not None)
    }
    weights: list[Tensor] = [weight for weight in module.parameters() if weight.requires_grad]
    matrices = [weight for weight in weights if weight in dense]
    others = [weight for weight in weights if weight.ndim > 1 and weight not in dense]
    return matrices, others, [weight for weight in weights if weight.ndim < 2]
